import errno
import pickle

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from geocsp.data.images import Bands, FileImages
from geocsp.images.decode import decode
from geocsp.images.framing import Framing
from geocsp.images.table_source import TableImages


@pytest.fixture
def images(tmp_path):
    names = []
    for number in range(7):
        Image.new("RGB", (9 + number, 12), (number * 10, 0, 255)).save(tmp_path / f"{number}.png")
        names.append(f"{number}.png")
    (tmp_path / "2.png").write_bytes(b"")
    (tmp_path / "4.png").unlink()
    return FileImages(pa.chunked_array([names]), folder=str(tmp_path))


def source(images, **framing):
    return TableImages(images, "a fingerprint", Framing(**framing))


def test_images_come_in_the_order_of_the_rows_and_failures_with_reasons(images):
    loaded = source(images, pixels=4).load(np.array([6, 2, 0, 4, 1]))
    assert loaded.images.shape == (5, 4, 4, 3)
    assert loaded.images.dtype == np.uint8
    assert loaded.images[:, 0, 0, 0].tolist() == [60, 0, 0, 0, 10]
    assert loaded.images[:, 0, 0, 2].tolist() == [255, 0, 255, 0, 255]
    assert loaded.failed.keys() == {2, 4}
    assert loaded.failed[2] == "is empty (0 bytes)"
    assert "cannot be read: No such file" in loaded.failed[4]


def test_each_image_is_decoded_as_it_would_be_alone(images):
    framing = Framing(pixels=4, resize=6)
    loaded = TableImages(images, "", framing).load(np.array([5, 3]))
    assert np.array_equal(loaded.images[0], decode(images.load(5), framing))
    assert np.array_equal(loaded.images[1], decode(images.load(3), framing))


def test_a_row_without_a_name_is_a_failure():
    images = FileImages(pa.chunked_array([pa.array(["", None], pa.string())]))
    assert source(images).load(np.array([0, 1])).failed == {
        0: "names no image",
        1: "names no image",
    }


def test_bands_of_the_table_count(tmp_path, images):
    banded = FileImages(images.names, images.folder, Bands(None, 0.0, 100.0))

    class Numbers(FileImages):
        def load(self, row):
            return np.full((5, 5, 3), 50.0 + row)

    loaded = source(Numbers(banded.names, banded.folder, banded.bands), pixels=5).load(
        np.array([0, 25 % 7])
    )
    assert loaded.images[0, 0, 0].tolist() == [128, 128, 128]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (PermissionError(errno.EACCES, "Permission denied"), "cannot be read: Permission denied"),
        (OSError(errno.ENAMETOOLONG, "File name too long"), "cannot be read: File name too long"),
        (OSError(errno.ELOOP, "Too many levels of symbolic links"), "cannot be read: Too many"),
        (OSError(errno.EIO, "Input/output error"), None),
        (OSError(errno.ESTALE, "Stale file handle"), None),
    ],
)
def test_a_broken_disk_is_no_broken_image(images, monkeypatch, error, reason):
    def load(self, row):
        raise error

    monkeypatch.setattr(FileImages, "load", load)
    if reason is None:
        with pytest.raises(OSError, match=error.strerror):
            source(images).load(np.array([0]))
    else:
        assert source(images).load(np.array([0])).failed[0].startswith(reason)


def test_it_travels_to_other_processes(images):
    first = source(images, pixels=4)
    expected = first.load(np.array([0])).images
    again = pickle.loads(pickle.dumps(first))
    assert np.array_equal(again.load(np.array([0])).images, expected)
    assert len(again) == 7
    assert again.fingerprint == "a fingerprint"


def test_a_file_where_a_folder_should_be_is_a_failure(images):
    inside = FileImages(pa.chunked_array([["0.png/x.png"]]), folder=images.folder)
    assert source(inside).load(np.array([0])).failed[0].startswith("cannot be read: Not a dir")


def test_numbers_for_an_encoder_of_numbers_are_not_cut_to_bytes(images):
    class Numbers(FileImages):
        def load(self, row):
            return np.full((5, 5, 2), 1000.5 - 2000 * row, np.float32)

    framed = TableImages(Numbers(images.names), "", Framing(5, channels=2, as_bytes=False))
    loaded = framed.load(np.array([0, 1]))
    assert loaded.images.dtype == np.float32
    assert loaded.images[:, 0, 0, 0].tolist() == [1000.5, -999.5]
