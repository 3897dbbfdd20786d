import json

import numpy as np
import pytest

from geocsp.data.named.listed import ListedImages
from geocsp.data.read import read
from geocsp.errors import DataError

CATEGORIES = [
    {"id": 0, "name": "0", "supercategory": "Aves"},
    {"id": 1, "name": "1", "supercategory": "Aves"},
    {"id": 2, "name": "2", "supercategory": "Plantae"},
]
IMAGES = {
    "train": [
        {"id": 10, "file_name": "train_val2018/Aves/0/a.jpg", "width": 800, "height": 600},
        {"id": 11, "file_name": "train_val2018/Plantae/2/b.jpg"},
        {"id": 12, "file_name": "train_val2018/Aves/0/c.jpg"},
        {"id": 13, "file_name": "train_val2018/Aves/0/d.jpg"},
    ],
    "val": [{"id": 20, "file_name": "train_val2018/Aves/1/e.jpg"}],
}
CLASSES = {10: 0, 11: 2, 12: 0, 13: 0, 20: 1}
PLACES = {
    "train": [
        {"id": 13, "lat": -33.5, "lon": 151.25, "date_c": 0.75, "user_id": 7},
        {"id": 10, "lat": 48.5, "lon": 2.25, "date_c": 0.125, "user_id": 5, "loc_uncert": 12},
        {"id": 11, "lat": None, "lon": None, "date_c": None, "user_id": None},
        {"id": 12, "lat": 40.0, "lon": -74.0, "date_c": 1.0, "user_id": None},
    ],
    "val": [{"id": 20, "lat": 1.5, "lon": 103.5, "date_c": 0.5, "user_id": 5}],
}


def write(root, year="2018", images=IMAGES, places=PLACES, splits=("train", "val"), **more):
    for split in splits:
        annotations = [
            {"id": n, "image_id": i["id"], "category_id": CLASSES[i["id"]]}
            for n, i in enumerate(images[split])
        ]
        whole = {
            "info": {"year": 2018},
            "images": images[split],
            "categories": CATEGORIES,
            "annotations": annotations,
            "licenses": [],
            **more,
        }
        (root / f"{split}{year}.json").write_text(json.dumps(whole))
        (root / f"{split}{year}_locations.json").write_text(json.dumps(places[split]))
    return root


@pytest.mark.parametrize("year", ["2017", "2018"])
def test_places_classes_users_and_dates_are_those_of_the_files(year, tmp_path):
    table = read(f"inat{year}:{write(tmp_path, year)}")
    assert [table.images.path(row) for row in range(4)] == [
        str(tmp_path / "train_val2018" / name)
        for name in ("Aves/0/a.jpg", "Aves/0/c.jpg", "Aves/0/d.jpg", "Aves/1/e.jpg")
    ]
    np.testing.assert_array_equal(
        table.lonlat, [[2.25, 48.5], [-74, 40], [151.25, -33.5], [103.5, 1.5]]
    )
    np.testing.assert_array_equal(table.time[:, 0], [0.125, 1.0, 0.75, 0.5])
    assert np.isnan(table.time[:, 1]).all()
    assert table.labels.tolist() == [0, 0, 0, 1]
    assert table.class_names == ("0", "1", "2")
    assert [table.split.names[c] for c in table.split.codes] == ["train"] * 3 + ["val"]
    assert [table.group.names[c] if c >= 0 else None for c in table.group.codes] == [
        "5",
        None,
        "7",
        "5",
    ]
    assert table.notes == ()


def test_an_image_without_a_place_is_left_out_with_its_row(tmp_path):
    (problem,) = read(f"inat2018:{write(tmp_path)}").problems
    assert problem.file == str(tmp_path / "train2018.json")
    assert (problem.row, problem.reason) == (1, "no coordinates")


def test_all_rows_stay_as_published_when_asked_for(tmp_path):
    table = read(f"inat2018:{write(tmp_path)}", keep_unplaced=True)
    assert len(table) == 5
    assert table.labels.tolist() == [0, 2, 0, 0, 1]
    assert np.isnan(table.lonlat[1]).all()
    assert table.problems == ()


def test_images_know_their_place_in_their_list(tmp_path):
    table = read(f"inat2018:{write(tmp_path)}")
    assert isinstance(table.images, ListedImages)
    assert table.images.positions.tolist() == [0, 2, 3, 0]
    assert table.images.trained.tolist() == [0, -1, 1, 0]
    assert table.images.lengths == {"train": 4, "val": 1}
    few = table.take(np.array([3, 2]))
    assert few.images.positions.tolist() == [0, 3]
    assert few.images.trained.tolist() == [0, 1]
    assert few.images.names.to_pylist()[1].endswith("d.jpg")


def test_places_may_lie_in_the_folder_of_their_archive(tmp_path):
    write(tmp_path)
    inner = tmp_path / "inat2018_locations"
    inner.mkdir()
    for split in ("train", "val"):
        name = f"{split}2018_locations.json"
        (tmp_path / name).rename(inner / name)
    assert len(read(f"inat2018:{tmp_path}")) == 4


@pytest.mark.parametrize("file", ["categories2018.json", "categories.json"])
def test_published_names_of_classes_win_over_numbers(file, tmp_path):
    names = [
        {"id": 2, "name": "Quercus robur"},
        {"id": 0, "name": "Turdus merula"},
        {"id": 1, "name": "Parus major"},
    ]
    (write(tmp_path) / file).write_text(json.dumps(names))
    table = read(f"inat2018:{tmp_path}")
    assert table.class_names == ("Turdus merula", "Parus major", "Quercus robur")
    assert table.labels.tolist() == [0, 0, 0, 1]


def test_a_split_alone_is_read_and_the_other_noted(tmp_path):
    table = read(f"inat2018:{write(tmp_path, splits=('val',))}")
    assert table.split.names == ("val",)
    assert table.notes == ("split train is not there",)


def test_missing_places_are_told_with_their_source(tmp_path):
    (write(tmp_path) / "val2018_locations.json").unlink()
    with pytest.raises(DataError, match=r"val2018_locations\.json does not exist; .*/2018$"):
        read(f"inat2018:{tmp_path}")


def test_images_may_be_in_another_folder(tmp_path):
    table = read(f"inat2018:{write(tmp_path)}", folder="s3://photos/inat")
    assert table.images.path(0) == "s3://photos/inat/train_val2018/Aves/0/a.jpg"


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ({"id": 20}, "no coordinates"),
        ({"id": 20, "lat": "x", "lon": [], "user_id": 5}, "no coordinates"),
        ({"id": 20, "lat": float("nan"), "lon": float("nan")}, "no coordinates"),
        ({"id": 20, "lat": 1.5, "lon": None}, "no longitude"),
        ({"id": 20, "lat": float("inf"), "lon": 1}, "coordinates are not finite"),
        ({"id": 20, "lat": 0, "lon": 0}, "lon 0, lat 0: that is what many devices write"),
        ({"id": 20, "lat": 103.5, "lon": 1.5}, "latitude 103.5 is outside [-90, 90] degrees"),
        ({"id": 99, "lat": 1.5, "lon": 103.5}, "no coordinates"),
        ("nothing", "no coordinates"),
    ],
)
def test_a_bad_place_is_left_out_with_its_row_and_the_rest_goes_on(place, reason, tmp_path):
    table = read(f"inat2018:{write(tmp_path, places=PLACES | {'val': [place]})}")
    assert len(table) == 3
    problem = table.problems[-1]
    assert (problem.file, problem.row) == (str(tmp_path / "val2018.json"), 0)
    assert problem.reason.startswith(reason)


def test_dates_outside_the_year_count_as_unknown(tmp_path):
    places = [{"id": 20, "lat": 1.5, "lon": 103.5, "date_c": -0.5, "user_id": 5}]
    table = read(f"inat2018:{write(tmp_path, places=PLACES | {'val': places})}")
    assert np.isnan(table.time[3]).all()
    assert table.notes == ("1 dates could not be read and count as unknown",)


def test_images_that_are_none_are_left_out_and_positions_stay(tmp_path):
    images = [{"file_name": "x.jpg"}, None, {"id": 20, "file_name": None}, {"id": {}}]
    annotations = [{"image_id": 20, "category_id": 1}, {"category_id": 4}, 7]
    write(tmp_path)
    whole = {"images": images, "annotations": annotations, "categories": CATEGORIES}
    (tmp_path / "val2018.json").write_text(json.dumps(whole))
    table = read(f"inat2018:{tmp_path}")
    assert table.images.positions.tolist() == [0, 2, 3, 2]
    assert table.images.lengths["val"] == 4
    assert [p.row for p in table.problems] == [0, 1, 3, 1]
    assert table.problems[0].reason == "is no image with an id"
    assert table.images.names[3].as_py() == "20"


def test_a_class_that_is_not_listed_is_left_out_and_a_missing_one_is_unknown(tmp_path):
    write(tmp_path)
    whole = json.loads((tmp_path / "train2018.json").read_text())
    whole["annotations"] = [
        {"image_id": 10, "category_id": 9},
        {"image_id": 12, "category_id": [1]},
        {"image_id": 13},
    ]
    (tmp_path / "train2018.json").write_text(json.dumps(whole))
    table = read(f"inat2018:{tmp_path}")
    assert table.labels.tolist() == [-1, 1]
    assert [p.reason for p in table.problems[:2]] == [
        "category_id 9 is not in the list of classes",
        "category_id [1] is not in the list of classes",
    ]


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00", b'{"images": [' + b"[" * 100_000])
@pytest.mark.parametrize("file", ["train2018.json", "train2018_locations.json"])
def test_a_damaged_file_is_named(content, file, tmp_path):
    (write(tmp_path) / file).write_bytes(content)
    with pytest.raises(DataError) as error:
        read(f"inat2018:{tmp_path}")
    assert str(error.value).startswith(f"{tmp_path / file} is damaged or no")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", ["[]", "3", "null", '{"images": 3}', '{"annotations": []}'])
def test_a_file_of_something_else_is_named(content, tmp_path):
    (write(tmp_path) / "train2018.json").write_text(content)
    with pytest.raises(DataError, match=r"train2018\.json has no list of images"):
        read(f"inat2018:{tmp_path}")
    write(tmp_path)
    (tmp_path / "train2018_locations.json").write_text("{}")
    with pytest.raises(DataError, match=r"train2018_locations\.json is no list of places"):
        read(f"inat2018:{tmp_path}")


def test_halves_of_characters_are_no_obstacle(tmp_path):
    write(tmp_path)
    whole = json.loads((tmp_path / "val2018.json").read_text())
    whole["images"][0]["file_name"] = "e\ud800.jpg"
    whole["categories"][1]["name"] = "\udfff"
    (tmp_path / "val2018.json").write_text(json.dumps(whole))
    (tmp_path / "train2018.json").unlink()
    table = read(f"inat2018:{tmp_path}")
    assert table.images.names.to_pylist() == ["e?.jpg"]
    assert table.class_names[1] == "?"
    assert table.fingerprint


def image2021(number, **more):
    return {"id": number, "file_name": f"train/0000_x/{number}.jpg", "license": 0, **more}


def write2021(root, train="train"):
    images = {
        train: [
            image2021(10, latitude=48.5, longitude=15, date="2013-07-02 21:00:00+00:00"),
            image2021(11, latitude=None, longitude=None, date="2014-01-01 00:00:00+00:00"),
            image2021(12, latitude=10.5, longitude=20.5, location_uncertainty=-80),
        ],
        "val": [image2021(20, latitude=-5, longitude=-60, date="not a date")],
    }
    for split, listed in images.items():
        annotations = [{"image_id": i["id"], "category_id": CLASSES[i["id"]]} for i in listed]
        whole = {"images": listed, "categories": CATEGORIES, "annotations": annotations}
        (root / f"{split}.json").write_text(json.dumps(whole))
    return root


@pytest.mark.parametrize(("name", "train"), [("2021", "train"), ("2021-mini", "train_mini")])
def test_2021_has_places_and_moments_in_its_annotations(name, train, tmp_path):
    table = read(f"inat{name}:{write2021(tmp_path, train)}")
    np.testing.assert_array_equal(table.lonlat, [[15, 48.5], [20.5, 10.5], [-60, -5]])
    date = (31 + 28 + 31 + 30 + 31 + 30 + 1 + 21 / 24) / 365
    np.testing.assert_allclose(table.time[0], [date, 22.0])  # an hour later than UTC, by longitude
    assert np.isnan(table.time[1:]).all()
    assert table.notes == ("1 dates could not be read and count as unknown",)
    assert table.labels.tolist() == [0, 0, 1]
    assert table.split.names == ("train", "val")
    assert table.group is None
    assert table.images.path(2) == str(tmp_path / "train/0000_x/20.jpg")
    assert [(p.row, p.reason) for p in table.problems] == [(1, "no coordinates")]


def test_the_small_training_set_is_not_mixed_with_the_large_one(tmp_path):
    write2021(write2021(tmp_path, "train"), "train_mini")
    assert len(read(f"inat2021:{tmp_path}")) == len(read(f"inat2021-mini:{tmp_path}")) == 3
