import numpy as np
import pytest

from geocsp.data.read import read
from geocsp.errors import DataError

ROWS = """IMG_ID,AUTHOR,LAT,LON,S3_Label,S16_Label
104_74_19@N00.jpg,19@N00,48.8584,2.2945,0,1
97_51_37@N00.jpg,37@N00,32.7,-117.1,1,2
200_1_37@N00.jpg,37@N00,,-117.1,1,2
"""


def write(root, name="im2gps3k"):
    (root / f"{name}_places365.csv").write_text(ROWS)
    return root


def test_places_and_photographers(tmp_path):
    table = read(f"im2gps3k:{write(tmp_path)}")
    np.testing.assert_array_equal(table.lonlat, [[2.2945, 48.8584], [-117.1, 32.7]])
    assert [table.group.names[c] for c in table.group.codes] == ["19@N00", "37@N00"]
    assert [table.split.names[c] for c in table.split.codes] == ["test", "test"]
    assert table.label is table.time is None
    assert [(p.row, p.reason) for p in table.problems] == [(2, "no latitude")]


@pytest.mark.parametrize("folder", ["images", "im2gps3ktest", "im2gps3k", "."])
def test_images_are_where_the_archive_put_them(folder, tmp_path):
    (tmp_path / folder).mkdir(exist_ok=True)
    images = read(f"im2gps3k:{write(tmp_path)}").images
    assert images.path(0) == str(tmp_path / folder / "104_74_19@N00.jpg")


def test_a_place_and_a_number_may_stand_before_the_name(tmp_path):
    (tmp_path / "images").mkdir()
    for name in ("Paris_00024_104_74_19@N00.jpg", "A_1_97_51_37@N00.jpg", "B_2_97_51_37@N00.jpg"):
        (tmp_path / "images" / name).touch()
    images = read(f"im2gps:{write(tmp_path, 'im2gps')}").images
    assert images.names.to_pylist() == ["Paris_00024_104_74_19@N00.jpg", "97_51_37@N00.jpg"]
    assert images.load(0).is_file()


def test_images_may_be_elsewhere(tmp_path):
    table = read(f"im2gps3k:{write(tmp_path)}", folder=str(tmp_path / "photos"))
    assert table.images.path(0) == str(tmp_path / "photos/104_74_19@N00.jpg")


def test_a_list_without_places_is_told(tmp_path):
    (tmp_path / "im2gps_places365.csv").write_text("IMG_ID,LAT\n")
    with pytest.raises(DataError, match=r"im2gps_places365\.csv has no column 'LON'"):
        read(f"im2gps:{tmp_path}")
