import json

import numpy as np
import pytest

from geocsp.data.named.fmow import centre_of
from geocsp.data.named.fmow_classes import CATEGORIES
from geocsp.data.named.listed import ListedImages
from geocsp.data.read import read
from geocsp.errors import DataError

SQUARE = "POLYGON ((10.0 50.0, 10.2 50.0, 10.2 50.4, 10.0 50.4, 10.0 50.0))"


def facts(location=SQUARE, **more):
    return {
        "gsd": 0.5,
        "img_width": 900,
        "utm": "32U",
        "timestamp": "2016-07-02T12:30:00Z",
        "raw_location": location,
        "bounding_boxes": [{"ID": -1, "category": "false_detection", "box": [0, 0, 9, 9]}],
        **more,
    }


def write(root, place, content):
    path = root / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_the_layout_of_the_authors(tmp_path):
    write(tmp_path, "train/airport/airport_0/airport_0_0_rgb.json", facts())
    write(tmp_path, "train/airport/airport_0/airport_0_1_rgb.json", facts(timestamp=None))
    write(tmp_path, "train/airport/airport_0/airport_0_1_msrgb.json", facts())
    write(tmp_path, "train/airport/airport_0/airport_0_0_rgb.jpg", "an image")
    write(tmp_path, "train/zoo/zoo_3/zoo_3_0_rgb.json", facts("POLYGON ((0 1, 2 1, 2 3, 0 3))"))
    write(tmp_path, "val/zoo/zoo_3/zoo_3_0_rgb.json", facts(img_filename="zoo_3_0_rgb.tif"))
    write(tmp_path, "test/0011978/0011978_0_rgb.json", facts())
    table = read(f"fmow:{tmp_path}")
    assert table.images.names.to_pylist() == [
        "train/airport/airport_0/airport_0_0_rgb.jpg",
        "train/airport/airport_0/airport_0_1_rgb.jpg",
        "train/zoo/zoo_3/zoo_3_0_rgb.jpg",
        "val/zoo/zoo_3/zoo_3_0_rgb.tif",
    ]
    assert table.images.path(0) == str(tmp_path / table.images.names[0].as_py())
    np.testing.assert_allclose(table.lonlat, [[10.1, 50.2], [10.1, 50.2], [1, 2], [10.1, 50.2]])
    assert [table.class_names[c] for c in table.labels] == ["airport"] * 2 + ["zoo"] * 2
    assert table.class_names == CATEGORIES
    assert len(CATEGORIES) == len(set(CATEGORIES)) == 62
    assert [table.split.names[c] for c in table.split.codes] == ["train"] * 3 + ["val"]
    assert [table.group.names[c] for c in table.group.codes] == [
        "train/airport_0",
        "train/airport_0",
        "train/zoo_3",
        "val/zoo_3",
    ]
    date = (31 + 29 + 31 + 30 + 31 + 30 + 1 + 12.5 / 24) / 366
    np.testing.assert_allclose(table.time[0], [date, 12.5 + 10.1 / 15])
    assert np.isnan(table.time[1]).all()
    assert table.problems == ()


def test_ground_truth_stands_beside_images_that_are_named_by_number(tmp_path):
    write(tmp_path, "train_gt/zoo/zoo_0/zoo_0_2_rgb.json", facts())
    write(tmp_path, "train/zoo/zoo_0/zoo_0_2_rgb.json", facts(None))
    write(tmp_path, "groundtruth/test_gt/airport/airport_10/airport_10_1_rgb.json", facts())
    write(tmp_path, "groundtruth/test_gt/zoo/zoo_1/zoo_1_0_rgb.json", facts())
    pairs = [{"input": "test_gt/airport/airport_10", "output": "test/0011978"}, {"input": 3}, None]
    write(tmp_path, "groundtruth/test_gt_mapping.json", pairs)
    table = read(f"fmow:{tmp_path}")
    assert table.images.names.to_pylist() == [
        "train/zoo/zoo_0/zoo_0_2_rgb.jpg",
        "test/0011978/0011978_1_rgb.jpg",
        "test/zoo/zoo_1/zoo_1_0_rgb.jpg",
    ]
    assert [table.split.names[c] for c in table.split.codes] == ["train", "test", "test"]
    assert not np.isnan(table.lonlat).any()


def test_images_without_coordinates_or_metadata_are_left_out(tmp_path):
    good = write(tmp_path, "train/zoo/zoo_0/zoo_0_0_rgb.json", facts())
    bad = {
        "train/zoo/zoo_1/zoo_1_0_rgb.json": (facts(None), "no coordinates"),
        "train/zoo/zoo_2/zoo_2_0_rgb.json": (facts("POLYGON EMPTY"), "no coordinates"),
        "train/zoo/zoo_3/zoo_3_0_rgb.json": (facts("POLYGON ((1 x, 2 y))"), "no coordinates"),
        "train/zoo/zoo_4/zoo_4_0_rgb.json": ("[]", "is no metadata of an image"),
        "train/zoo/zoo_5/zoo_5_0_rgb.json": ("{", "is damaged or no JSON"),
    }
    for place, (content, _) in bad.items():
        write(tmp_path, place, content)
    table = read(f"fmow:{tmp_path}")
    assert len(table) == 1
    assert good.exists()
    found = {problem.file: problem for problem in table.problems}
    for place, (_, reason) in bad.items():
        problem = found[str(tmp_path / place)]
        assert reason in problem.reason
        assert problem.row is None
    kept = read(f"fmow:{tmp_path}", keep_unplaced=True)
    assert np.isnan(kept.lonlat).all(axis=1).sum() == 3


def test_a_damaged_mapping_is_named(tmp_path):
    write(tmp_path, "test_gt/zoo/zoo_0/zoo_0_0_rgb.json", facts())
    write(tmp_path, "test_gt_mapping.json", "{")
    with pytest.raises(DataError, match=r"test_gt_mapping\.json is damaged or no JSON"):
        read(f"fmow:{tmp_path}")


@pytest.mark.parametrize(
    ("polygon", "centre"),
    [
        ("POLYGON ((0 1, 2 1, 2 3, 0 3, 0 1))", (1, 2)),
        ("POLYGON((0 1,2 1,2 3,0 3,0 1))", (1, 2)),
        ("POLYGON Z ((0 1 9, 2 1 9, 2 3 9))", (1, 2)),
        ("POLYGON ((0 0, 4 0, 4 2), (1 1, 2 1, 2 2))", (2, 1)),
        ("POLYGON ((179.5 -17, -179.7 -17, -179.7 -16, 179.5 -16))", (179.9, -16.5)),
        ("POLYGON ((179.7 -17, -179.5 -17, -179.5 -16, 179.7 -16))", (-179.9, -16.5)),
        ("POLYGON ((1 2, 3))", (np.nan, np.nan)),
        ("", (np.nan, np.nan)),
        (None, (np.nan, np.nan)),
        (["POLYGON"], (np.nan, np.nan)),
    ],
)
def test_the_centre_of_a_polygon(polygon, centre):
    np.testing.assert_allclose(centre_of(polygon), centre)


def csp(root, **changes):
    images = [{"id": 0}, {"id": 1, "file_name": "airport_1_0_rgb.jpg"}, {"id": 2}]
    places = [
        {"id": 0, "lat": 50.5, "lon": 10.5, "date_c": 0.25, "user_id": 1},
        {"id": 1, "lat": None, "lon": None, "date_c": None, "user_id": None},
        {"id": 2, "lat": -20, "lon": 30, "date_c": 0.5, "user_id": 2},
    ]
    annotations = [{"image_id": n, "category_id": c} for n, c in enumerate((1, 0, 1))]
    files = {
        "train.json": {"images": images, "annotations": annotations},
        "train_location.json": places,
        "val.json": {"images": images[:1], "annotations": annotations[:1]},
        "val_location.json": places[:1],
        "category.json": {"zoo": 1, "airport": 0},
    } | changes
    for name, content in files.items():
        (root / name).write_text(json.dumps(content))
    return root


def test_the_layout_of_csp(tmp_path):
    table = read(f"fmow:{csp(tmp_path)}")
    np.testing.assert_array_equal(table.lonlat, [[10.5, 50.5], [30, -20], [10.5, 50.5]])
    assert table.class_names == ("airport", "zoo")
    assert table.labels.tolist() == [1, 1, 1]
    assert [table.split.names[c] for c in table.split.codes] == ["train", "train", "val"]
    assert isinstance(table.images, ListedImages)
    assert table.images.positions.tolist() == [0, 2, 0]
    assert table.images.trained.tolist() == [0, 1, 0]
    assert [(p.row, p.reason) for p in table.problems] == [(1, "no coordinates")]
    assert table.images.names.to_pylist() == ["0", "2", "0"]


@pytest.mark.parametrize("name", ["category.json", "val_location.json"])
def test_incomplete_data_of_csp_is_told_with_its_source(name, tmp_path):
    (csp(tmp_path) / name).unlink()
    with pytest.raises(DataError, match=rf"{name} does not exist; CSP's data for fMoW .*csp-w"):
        read(f"fmow:{tmp_path}")


def test_classes_of_another_form_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"category\.json does not say the number"):
        read(f"fmow:{csp(tmp_path, **{'category.json': []})}")
