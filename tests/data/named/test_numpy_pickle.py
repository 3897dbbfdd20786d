import os
import pickle
import re
import struct

import numpy as np
import pytest

from geocsp.data.named.numpy_pickle import read_dumped
from geocsp.errors import DataError

ROWS = np.arange(7, dtype=np.int64) * 3


@pytest.mark.parametrize(
    "array",
    [
        ROWS,
        ROWS.astype(">i4"),
        ROWS.astype(np.uint16),
        ROWS.astype(np.float32),
        ROWS[:0],
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    ],
)
def test_a_dumped_array_is_read_back(array, tmp_path):
    path = tmp_path / "rows.npy"
    array.dump(path)
    read = read_dumped(path)
    np.testing.assert_array_equal(read, array)
    assert read.dtype == array.dtype
    np.save(path, array)
    np.testing.assert_array_equal(read_dumped(path), array)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL))
def test_every_protocol_and_numpy_is_known(protocol, tmp_path):
    path = tmp_path / "rows.npy"
    content = pickle.dumps(ROWS, protocol)
    path.write_bytes(content)
    np.testing.assert_array_equal(read_dumped(path), ROWS)
    if protocol < 4:  # names have no length there
        path.write_bytes(content.replace(b"numpy._core", b"numpy.core"))
        np.testing.assert_array_equal(read_dumped(path), ROWS)


class Hostile:
    def __init__(self, target, call, *arguments):
        self.call, self.arguments = call, (*arguments, target)

    def __reduce__(self):
        return self.call, self.arguments


@pytest.mark.parametrize("call", [os.mkdir, os.system, eval, getattr])
def test_nothing_that_a_pickle_asks_for_is_run(call, tmp_path):
    target = tmp_path / "made"
    text = str(target) if call is os.mkdir else f"mkdir {target}"
    path = tmp_path / "rows.npy"
    path.write_bytes(pickle.dumps(Hostile(text, call)))
    with pytest.raises(DataError, match=r"rows\.npy .*it asks for \w+\.\w+, which was not run"):
        read_dumped(path)
    assert not target.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80\x04.",
        pickle.dumps([1, 2]),
        pickle.dumps({"a": 1}),
        pickle.dumps(np.int64(3)),
        pickle.dumps(np.array([{}, None], dtype=object)),
        pickle.dumps(np.array(["a", "b"])),
        pickle.dumps(np.zeros(2, dtype=[("a", "i4")])),
        pickle.dumps(ROWS)[:40],
        pickle.dumps(ROWS)[:-30] + b".",
        b"\x93NUMPY\x01\x00junk",
        b"\x80\x02r" + struct.pack("<I", 2**32 - 2) + b"N.",  # a memo of billions of places
        b"\x80\x04\x8e" + struct.pack("<Q", 2**60) + b"abc.",  # bytes beyond the file
        b"\x80\x04cnumpy\ndtype\nU\x02i8\x85R}b.",
        b"\x80\x02c__builtin__\nbytes\nJ\xff\xff\xff\x7f\x85R.",  # two billion zeros
        b"garbage",
    ],
)
def test_what_is_no_array_of_numbers_is_refused_in_one_line(content, tmp_path):
    path = tmp_path / "rows.npy"
    path.write_bytes(content)
    with pytest.raises(DataError, match=re.escape(f"{path} is not an array of numbers alone (")):
        read_dumped(path)


def test_objects_in_a_saved_file_are_refused(tmp_path):
    path = tmp_path / "rows.npy"
    np.save(path, np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="is not an array of numbers alone"):
        read_dumped(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"cannot read .*rows\.npy: No such file"):
        read_dumped(tmp_path / "rows.npy")
