import io

import pytest

from geocsp.data.readers.utf8 import Utf8, first_bad_line


def read_all(content, size):
    file = Utf8(io.BytesIO(content))
    parts = list(iter(lambda: file.read(size), b""))
    assert max(map(len, parts), default=0) <= size
    return b"".join(parts), file.replaced


@pytest.mark.parametrize("size", [9, 10, 11, 12, 13, 100])
@pytest.mark.parametrize("text", ["", "plain" * 9, "äöü€" * 9, "😀" * 9, "a\x1ab"])
def test_utf8_stays_as_it_is_wherever_it_is_cut(size, text):
    content = text.encode()
    assert read_all(content, size) == (content, False)


@pytest.mark.parametrize("size", [9, 10, 100])
@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (b"caf\xe9,x", b"caf\x1a,x"),
        (b"1234567\xf0\x9f", b"1234567\x1a\x1a"),
        (b"\xff" * 20, b"\x1a" * 20),
        (b"\xc3\xa4\xc3(\xed\xa0\x80", b"\xc3\xa4\x1a(\x1a\x1a\x1a"),
    ],
)
def test_other_bytes_are_marked_one_by_one(size, content, wanted):
    assert read_all(content, size) == (wanted, True)


def test_all_at_once():
    assert Utf8(io.BytesIO("ä\n".encode())).read() == "ä\n".encode()


def test_closing_is_left_to_others():
    inner = io.BytesIO(b"x")
    file = Utf8(inner)
    file.close()
    assert file.closed
    assert not inner.closed


def test_the_first_bad_line_is_found():
    assert first_bad_line(io.BytesIO("ä\nb\n".encode() + b"\xe4\n\xff\n")) == 3
    assert first_bad_line(io.BytesIO("ä\n".encode())) is None
