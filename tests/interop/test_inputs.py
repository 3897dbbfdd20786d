import numpy as np
import pytest

from geocsp.errors import DataError
from geocsp.interop.inputs import read_names, read_raster


def test_a_raster_has_rows_columns_and_bands(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((2, 4, 3), dtype=np.float16))
    assert read_raster(tmp_path / "a.npy").shape == (2, 4, 3)
    np.save(tmp_path / "b.npy", np.ones((2, 4)))
    with pytest.raises(DataError, match=r"shape \(2, 4\), not \(rows, columns, bands\)"):
        read_raster(tmp_path / "b.npy")


@pytest.mark.parametrize("content", [b"", b"no array", None])
def test_files_that_are_no_raster_are_refused(tmp_path, content):
    path = tmp_path / "a.npy"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match="cannot read"):
        read_raster(path)


def test_names_are_one_a_line(tmp_path):
    (tmp_path / "n.txt").write_text("Corvus corax\nÖdland\n", encoding="utf-8")
    assert read_names(tmp_path / "n.txt") == ["Corvus corax", "Ödland"]


@pytest.mark.parametrize(
    ("text", "message"),
    [("a\n\nb\n", "line 2 is empty"), ("a\nb\na\n", "line 3 repeats 'a' of line 1")],
)
def test_names_that_cannot_be_told_apart_are_refused(tmp_path, text, message):
    (tmp_path / "n.txt").write_text(text)
    with pytest.raises(DataError, match=message):
        read_names(tmp_path / "n.txt")
    with pytest.raises(DataError, match="cannot read"):
        read_names(tmp_path / "none.txt")
