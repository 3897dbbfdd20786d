import numpy as np
import pytest

from geocsp.data.options import Columns
from geocsp.data.read import read
from geocsp.errors import DataError

HEADING = "id,latitude,longitude,thumb_original_url,country,sequence,captured_at,region,city\n"
TRAIN = HEADING + (
    "3859149887465501,-43.5,-176.5,,NZ,s1,1456790400000,Chatham Islands,Waitangi\n"
    "1113744692540897,48.5,15,,NA,s2,2016-02-29 23:00:00,,Paris\n"
    "42,x,2.25,,FR,s2,,,Paris\n"
)
TEST = HEADING + "210429954039398,1.5,103.5,,,s3,when?,Johor,\n"


@pytest.fixture
def root(tmp_path):
    (tmp_path / "train.csv").write_text(TRAIN)
    (tmp_path / "test.csv").write_text(TEST)
    for name in ("train/00/3859149887465501.jpg", "train/07/x.txt", "test/210429954039398.jpg"):
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return tmp_path


def names(column):
    return [column.names[code] if code >= 0 else None for code in column.codes]


def test_countries_sequences_and_moments(root):
    table = read(f"osv5m:{root}")
    np.testing.assert_array_equal(table.lonlat, [[-176.5, -43.5], [15, 48.5], [103.5, 1.5]])
    assert names(table.label) == ["NZ", "NA", None]
    assert names(table.group) == ["s1", "s2", "s3"]
    assert names(table.split) == ["train", "train", "test"]
    np.testing.assert_allclose(table.time[0], [60 / 366, 24 - 176.5 / 15])
    np.testing.assert_allclose(table.time[1], [(59 + 23 / 24) / 366, 0])
    assert np.isnan(table.time[2]).all()
    assert table.notes == ("1 dates could not be read and count as unknown",)
    assert [(p.file, p.row) for p in table.problems] == [(str(root / "train.csv"), 2)]


def test_images_are_found_in_the_folders_of_the_archives(root):
    images = read(f"osv5m:{root}").images
    assert images.names.to_pylist() == [
        "images/train/00/3859149887465501.jpg",
        "images/train/1113744692540897.jpg",  # is not there
        "images/test/210429954039398.jpg",
    ]
    assert images.load(0).is_file()


def test_another_column_may_be_the_class(root):
    table = read(f"osv5m:{root}", columns=Columns(label="region"))
    assert names(table.label) == ["Chatham Islands", None, "Johor"]
    with pytest.raises(DataError, match=r"train\.csv has no column 'soil'"):
        read(f"osv5m:{root}", columns=Columns(label="soil"))


def test_a_split_alone_is_read(root):
    (root / "train.csv").unlink()
    assert read(f"osv5m:{root}").split.names == ("test",)
