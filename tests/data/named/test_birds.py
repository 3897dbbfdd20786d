import json

import numpy as np
import pytest

from geocsp.data.read import read
from geocsp.errors import DataError


def place(lon, lat, date, user):
    return {"lon": lon, "lat": lat, "date": date, "user_id": user}


NOWHERE = place(float("nan"), float("nan"), float("nan"), None)


def bird(number, name, ebird, orig=None, **more):
    record = {"class_id": number, "im_path": name, "valid_image": True, "ebird_meta": ebird}
    return record | ({} if orig is None else {"orig_meta": orig}) | more


def lists():
    return {
        "train": [
            bird(0, "1/a.jpg", place(-80.5, 25.5, 0.25, 3), place(151.25, -33.5, 0.5, 11)),
            bird(1, "1/b.jpg", place(-90, 40, 0.5, 4), NOWHERE, valid_image=False),
            bird(1, "1/c.jpg", NOWHERE, place(2.25, 48.5, float("nan"), 12)),
            bird(1, "1/d.jpg", place(-70, 45, 1.0, 3), NOWHERE),
        ],
        "val": [bird(2, "2/e.jpg", place(-100, 50, 0.75, 5), NOWHERE)],
        "test": [bird(0, "3/f.jpg", place(-60, 20, 0.0, 3), place(10, 60, 0.125, 11))],
        "classes": ["Black Swan", "Mute Swan (adult)", "Mute Swan (juvenile)"],
    }


def write(root, name, content):
    root.mkdir(exist_ok=True)
    path = root / f"{name}_with_loc_2019.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def names(column):
    return [column.names[code] if code >= 0 else None for code in column.codes]


@pytest.mark.parametrize(
    ("layout", "file"), [("nabirds", "nabirds"), ("birdsnap-ebird", "birdsnap")]
)
def test_places_drawn_from_ebird(layout, file, tmp_path):
    write(tmp_path, file, lists())
    table = read(f"{layout}:{tmp_path}")
    np.testing.assert_array_equal(table.lonlat, [[-80.5, 25.5], [-70, 45], [-100, 50], [-60, 20]])
    np.testing.assert_array_equal(table.time[:, 0], [0.25, 1.0, 0.75, 0.0])
    assert np.isnan(table.time[:, 1]).all()
    assert table.labels.tolist() == [0, 1, 2, 0]
    assert table.class_names == tuple(lists()["classes"])
    assert names(table.split) == ["train", "train", "val", "test"]
    assert names(table.group) == ["3", "3", "5", "3"]
    assert table.images.path(0) == str(tmp_path / "images/1/a.jpg")
    assert table.images.positions.tolist() == [0, 2, 0, 0]
    assert table.images.trained.tolist() == [0, 1, 0, 0]
    assert table.images.lengths == {"train": 3, "val": 1, "test": 1}
    assert [(p.row, p.reason) for p in table.problems] == [(2, "no coordinates")]
    assert table.notes == ("1 images of train are marked as missing",)


def test_birdsnap_has_the_places_of_the_photos(tmp_path):
    path = write(tmp_path, "birdsnap", lists())
    (tmp_path / "images_sm").mkdir()
    table = read(f"birdsnap:{tmp_path}")
    np.testing.assert_array_equal(table.lonlat, [[151.25, -33.5], [2.25, 48.5], [10, 60]])
    assert names(table.split) == ["train", "train", "test"]
    assert table.images.path(1) == str(tmp_path / "images_sm/1/c.jpg")
    assert table.images.trained.tolist() == [0, -1, 0]  # geo_prior wants dates as well
    assert [(p.file, p.row) for p in table.problems] == [(str(path), 3), (str(path), 0)]
    assert len(read(f"birdsnap:{tmp_path}", keep_unplaced=True)) == 5


def test_unusable_records_are_left_out_and_positions_stay(tmp_path):
    bad = [None, {"im_path": "x.jpg"}, bird(7, "y.jpg", place(1, 2, 0.5, 1)), bird("0", "z", {})]
    good = [bird(2, "2/e.jpg", place(-100, 50, 0.75, 5)), bird(1, "2/f.jpg", "somewhere")]
    write(tmp_path, "nabirds", lists() | {"val": bad + good})
    table = read(f"nabirds:{tmp_path}")
    assert table.part("val").images.positions.tolist() == [4]
    assert table.images.lengths["val"] == 6
    found = [(p.row, p.reason) for p in table.problems if p.reason.startswith("val")]
    assert found == [(row, "val: no image with a class") for row in range(4)]
    assert (5, "no coordinates") in [(p.row, p.reason) for p in table.problems]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is damaged or no JSON"),
        ("[]", "has no list of classes"),
        ('{"classes": 3}', "has no list of classes"),
        ('{"classes": [], "train": {}}', "has none of the lists train, val and test"),
    ],
)
def test_a_file_that_is_something_else_is_named(content, message, tmp_path):
    write(tmp_path, "birdsnap", content)
    with pytest.raises(DataError, match=rf"birdsnap_with_loc_2019\.json {message}"):
        read(f"birdsnap:{tmp_path}")
