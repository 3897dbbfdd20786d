import io
import random
import re
import tarfile

import pytest

from geocsp.data.readers.tars import CutError, members
from geocsp.errors import DataError


def tar(*files, form=tarfile.GNU_FORMAT):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for name, content in files:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def listed(content):
    """Names, what was read, and the error at the end."""
    file, found = io.BytesIO(content), []
    try:
        for member in members(file, len(content)):
            file.seek(member.offset_data)
            found.append((member.name, file.read(min(member.size, 100))))
    except DataError as error:
        return found, error
    return found, None


def header(name, size, kind=b"0"):
    """A header with a size field of 12 bytes as they are."""
    info = tarfile.TarInfo(name)
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    block[124:136], block[156:157] = size, kind
    block[148:156] = b"%06o\0 " % (sum(block[:148]) + 256 + sum(block[156:]))
    return bytes(block)


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_members_and_where_they_are(form):
    content = tar(("a.jpg", b"first"), ("b/ä.json", b"{}"), ("empty", b""), form=form)
    assert listed(content) == ([("a.jpg", b"first"), ("b/ä.json", b"{}"), ("empty", b"")], None)


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names(form):
    name = "folder/" * 60 + "a.jpg"
    assert listed(tar((name, b"x"), form=form)) == ([(name, b"x")], None)


def test_names_that_are_no_utf8_become_surrogates():
    assert listed(tar(("caf\udce9.jpg", b"x")))[0] == [("caf\udce9.jpg", b"x")]


def test_an_empty_archive_is_one():
    assert listed(tar()) == ([], None)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"is no tar file \(empty file\)"),
        (b"hello", "is no tar file"),
        (b"<html>" * 200, "is no tar file"),
        (b"\x1f\x8b" + bytes(600), r"is compressed \(gzip\).* decompress it to a plain \.tar"),
        (b"BZh9" + bytes(600), r"is compressed \(bzip2\)"),
        (b"\xfd7zXZ" + bytes(600), r"is compressed \(xz\)"),
        (b"\x28\xb5\x2f\xfd" + bytes(600), r"is compressed \(zstd\)"),
        (b"PK\x03\x04" + bytes(600), r"is compressed \(zip\)"),
    ],
)
def test_what_is_no_tar_file_is_refused(content, message):
    found, error = listed(content)
    assert found == []
    assert error is not None
    assert re.match(message, str(error))


def test_a_file_cut_within_a_member():
    content = tar(("a", b"x" * 600), ("b", b"y" * 600))
    found, error = listed(content[: 512 + 1024 + 512 + 100])
    assert [name for name, _ in found] == ["a"]
    assert isinstance(error, CutError)
    assert error.member == "b"
    assert str(error) == "ends within b, at byte 2,148 of at least 2,648; copy it again"


@pytest.mark.parametrize("end", [512 + 512, 512 + 512 + 100])
def test_a_file_cut_between_members(end):
    found, error = listed(tar(("a", b"x"), ("b", b"y"))[:end])
    assert found == [("a", b"x")]
    assert str(error) == "has no end mark, so it may have been cut short; copy it again"


def test_damage_between_members():
    content = bytearray(tar(("a", b"x"), ("b", b"y")))
    content[1024:1034] = b"\xff" * 10
    found, error = listed(bytes(content))
    assert found == [("a", b"x")]
    assert str(error) == "is damaged at byte 1,024; what follows is not read"


@pytest.mark.parametrize("kind", [b"L", b"x", b"g", b"K"])
def test_headers_cannot_fill_the_memory(kind):
    content = tar(("a", b"x"))[:1024] + header("b", b"77777777777\0", kind) + bytes(2048)
    found, error = listed(content)
    assert found == [("a", b"x")]
    assert "is damaged (a header of" in str(error)


@pytest.mark.parametrize("kind", [b"0", b"x", b"L"])
def test_negative_sizes_do_not_go_round_in_circles(kind):
    negative = b"\xff" * 10 + b"\xf8\x00"  # -2048 in base 256
    content = tar(("a", b"x"))[:1024] + header("b", negative, kind) + tar(("c", b"z"))
    found, error = listed(content)
    assert [name for name, _ in found] == ["a"]
    assert str(error).startswith("is damaged")


def test_a_chain_of_headers_is_no_crash():
    content = header("x", b"00000000000\0", b"x") * 5000 + tar(("a", b"x"))
    assert listed(content)[0] == []


def test_noise_gives_members_or_a_reason():
    good = bytearray(tar(*((f"{n}.jpg", bytes([n]) * 300) for n in range(6)), form=2))
    generator = random.Random(0)
    for _ in range(300):
        content = bytearray(good)
        for _ in range(generator.randint(1, 30)):
            content[generator.randrange(len(content))] = generator.randrange(256)
        found, error = listed(bytes(content[: generator.randint(0, len(content))]))
        assert found or error is not None
