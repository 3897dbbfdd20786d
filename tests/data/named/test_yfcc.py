import numpy as np
import pytest

from geocsp.data.read import read
from geocsp.errors import DataError

LIST = """path,lat,lon,split,class
beach/1.jpg,-33.5,151.25,train,1
airport/2.jpg,48.5,2.25,test,0
airport/3.jpg,40,-74,train,0
beach/4.jpg,,10,train,1
zoo/5.jpg,1,x,val,2
zoo/6.jpg,1,103.5,val,9
zoo/7.jpg,1,103.5,other,2
"""
NAMES = "id,name\n1,beach\n0,airport\n2,zoo\n"


def write(root, rows=LIST, names=NAMES):
    (root / "train_test_split.csv").write_text(rows)
    (root / "class_names.csv").write_text(names)
    return root


def test_splits_and_classes_are_those_of_geo_prior(tmp_path):
    table = read(f"yfcc100m-geo:{write(tmp_path)}")
    assert table.images.path(0) == str(tmp_path / "beach/1.jpg")
    np.testing.assert_array_equal(
        table.lonlat, [[151.25, -33.5], [-74, 40], [103.5, 1], [2.25, 48.5]]
    )
    assert table.class_names == ("airport", "beach", "zoo")
    assert table.labels.tolist() == [1, 0, -1, 0]
    assert [table.split.names[c] for c in table.split.codes] == ["train", "train", "val", "test"]
    assert table.time is None
    assert table.group is None
    assert table.images.positions.tolist() == [0, 1, 1, 0]
    assert table.images.lengths == {"train": 3, "val": 2, "test": 1}
    assert [(p.row, p.reason) for p in table.problems] == [
        (6, "its split is none of train, val, test"),
        (3, "no latitude"),
        (4, "no longitude"),
    ]


def test_the_list_of_the_authors_has_no_splits(tmp_path):
    lines = "beach/1.jpg -33.5 151.25\nzoo/a b.jpg 48.5 2.25\nzoo/3.jpg x 3\nbroken\n\n"
    (tmp_path / "photo2gps.txt").write_text(lines)
    table = read(f"yfcc100m-geo:{tmp_path}")
    assert table.images.names.to_pylist() == ["beach/1.jpg", "zoo/a b.jpg"]
    np.testing.assert_array_equal(table.lonlat, [[151.25, -33.5], [2.25, 48.5]])
    assert [table.class_names[c] for c in table.labels] == ["beach", "zoo"]
    assert table.split is None
    assert [(p.row, p.reason) for p in table.problems] == [
        (3, "is no path, latitude and longitude"),
        (2, "no latitude"),
    ]


def test_class_names_belong_to_it(tmp_path):
    (write(tmp_path) / "class_names.csv").unlink()
    with pytest.raises(DataError, match=r"class_names\.csv does not exist; YFCC100M-GEO100"):
        read(f"yfcc100m-geo:{tmp_path}")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("path,lat,lon,split\n", "has no column 'class'; its columns are path, lat, lon, split"),
        ("", "has no column 'class'; its columns are none"),
        ("path,lat,lon,split,class\n1,2\n", "holds no image"),
    ],
)
def test_a_damaged_list_is_told(content, message, tmp_path):
    with pytest.raises(DataError, match=message):
        read(f"yfcc100m-geo:{write(tmp_path, content)}")


def test_text_that_is_none_is_named(tmp_path):
    (tmp_path / "photo2gps.txt").write_bytes(b"\xff\xfe\xfa 1 2\n")
    with pytest.raises(DataError, match=r"photo2gps\.txt is damaged or no text"):
        read(f"yfcc100m-geo:{tmp_path}")
