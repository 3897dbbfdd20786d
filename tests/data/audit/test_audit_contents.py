import io
import os
import warnings

import numpy as np
import pytest
from audit_tables import picture, places, save_pictures, table
from PIL import Image

from geocsp.data.audit import contents as module
from geocsp.data.audit import look as look_module
from geocsp.data.audit.contents import facts_of_images, findings_of_images, look_at_all
from geocsp.data.audit.look import look_at
from geocsp.data.images import Bands
from geocsp.errors import DataError, MissingExtraError


def examined(data, workers=2, on_progress=None):
    return look_at_all(data.images, workers, on_progress)


def png(image):
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def test_a_look_tells_size_format_and_mean_colours():
    image = Image.new("RGB", (64, 64), (10, 20, 30))
    image.paste((200, 100, 0), (0, 0, 8, 8))
    look = look_at(png(image), Bands())
    assert (look.width, look.height, look.kind) == (64, 64, "PNG")
    cells = look.thumbnail.reshape(8, 8, 3)
    assert cells[0, 0].tolist() == [200, 100, 0]
    assert cells[4, 4].tolist() == [10, 20, 30]


def test_a_file_its_content_and_a_copy_have_one_digest(tmp_path):
    content = png(picture(1))
    (tmp_path / "a.png").write_bytes(content)
    assert look_at(tmp_path / "a.png", Bands()).digest == look_at(content, Bands()).digest
    assert look_at(content + b"\0", Bands()).digest != look_at(content, Bands()).digest


def test_open_pictures_and_numbers_are_told_apart_by_their_numbers():
    image = picture(1)
    first, again = look_at(image, Bands()), look_at(image.copy(), Bands())
    assert first.digest == again.digest != look_at(picture(2), Bands()).digest
    assert first.kind == "in memory"
    numbers = np.asarray(image)
    assert look_at(numbers, Bands()).digest == look_at(numbers.copy(), Bands()).digest
    assert look_at(numbers, Bands()).digest != look_at(numbers.transpose(1, 0, 2), Bands()).digest
    np.testing.assert_allclose(look_at(numbers, Bands()).thumbnail, first.thumbnail, atol=2)


def test_numbers_that_are_no_rgb_have_no_thumbnail_unless_bands_say_how():
    numbers = np.random.default_rng(0).integers(0, 3000, (20, 30, 13)).astype(np.uint16)
    look = look_at(numbers, Bands())
    assert (look.width, look.height, look.kind) == (30, 20, "13 bands of uint16")
    assert look.thumbnail is None
    assert look_at(numbers, Bands((4, 3, 2), 0, 3000)).thumbnail.shape == (192,)
    with pytest.raises(DataError, match="has 13 bands, so no band 14"):
        look_at(numbers, Bands((14, 3, 2), 0, 3000))
    assert look_at(numbers[:, :, 0], Bands()).kind == "1 band of uint16"
    with pytest.raises(DataError, match="shape"):
        look_at(np.zeros((3, 0, 3), np.uint8), Bands())


pytestmark = pytest.mark.filterwarnings("ignore:Dataset has no geotransform")


def geotiff(path, numbers):
    rasterio = pytest.importorskip("rasterio")
    height, width, count = numbers.shape
    shape = {"height": height, "width": width, "count": count, "dtype": str(numbers.dtype)}
    with rasterio.open(path, "w", driver="GTiff", **shape) as raster:
        raster.write(numbers.transpose(2, 0, 1))


def test_a_raster_of_many_bands_can_be_read(tmp_path):
    generator = np.random.default_rng(0)
    numbers = generator.integers(0, 3000, (40, 50, 13)).astype(np.uint16)
    geotiff(tmp_path / "0.png", numbers)  # by content, not by name
    geotiff(tmp_path / "1.png", generator.random((40, 50, 4), dtype=np.float32))
    found = examined(table(places(2), folder=tmp_path))
    assert found.problems == ()
    assert found.kinds == {"13 bands of uint16": 1, "4 bands of float32": 1}
    ((finding),) = findings_of_images(found)
    assert (str(finding.severity), finding.rows) == ("info", 2)
    assert finding.message.startswith("not RGB: encoders of RGB images need --bands")
    bands = Bands((4, 3, 2), 0, 3000)
    found = examined(table(places(2), folder=tmp_path, bands=bands))
    assert found.has_thumbnail.all()
    found = examined(table(places(2), folder=tmp_path, bands=Bands((9, 3, 2), 0, 3000)))
    assert [p.reason for p in found.problems] == ["has 4 bands, so no band 9"]


def test_a_raster_without_rasterio_is_a_problem_that_names_the_extra(tmp_path, monkeypatch):
    geotiff(tmp_path / "0.png", np.zeros((9, 9, 5), np.uint16))

    def missing(raw):
        raise MissingExtraError("rasterio", "geo")

    monkeypatch.setattr(look_module, "read_bands", missing)
    (problem,) = examined(table(places(1), folder=tmp_path)).problems
    assert "to read it as a raster: rasterio is not installed" in problem.reason


def spoiled(folder):
    """Names of files that cannot be read, and what is to be said of each."""
    content = png(picture(0))
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "half.png").write_bytes(content[: len(content) // 2])
    (folder / "page.jpg").write_bytes(b"<!doctype html><title>404</title>")
    (folder / "noise.jpg").write_bytes(bytes(range(256)) * 9)
    (folder / "folder.png").mkdir()
    os.mkfifo(folder / "pipe.png")
    return {
        "empty.jpg": "empty",
        "half.png": "damaged",
        "page.jpg": "web page",
        "noise.jpg": "no image",
        "folder.png": "folder",
        "pipe.png": "pipe",
        "gone.png": "No such file",
        "a\0b.png": "",
        "": "names no image",
    }


def test_what_cannot_be_read_is_a_problem_and_the_rest_goes_on(tmp_path):
    bad = spoiled(tmp_path)
    good = save_pictures(tmp_path, 3)
    names = [good[0], *bad, *good[1:]]
    found = examined(table(places(len(names)), names=names, folder=tmp_path))
    assert found.rows.tolist() == [0, len(names) - 2, len(names) - 1]
    assert [problem.file for problem in found.problems] == list(bad)
    for problem, words in zip(found.problems, bad.values(), strict=True):
        assert words in problem.reason
        assert "\n" not in problem.reason
        assert problem.row is None
    facts = facts_of_images(found)
    assert (facts.readable, facts.unreadable) == (3, len(bad))
    (finding,) = findings_of_images(found)
    assert (str(finding.severity), finding.rows) == ("warning", len(bad))


def test_no_image_at_all_is_an_error(tmp_path):
    found = examined(table(places(3), folder=tmp_path))
    assert len(found.rows) == 0
    assert facts_of_images(found).sizes is None
    assert [str(f.severity) for f in findings_of_images(found)] == ["error"]


def test_sizes_and_formats_are_measured(tmp_path):
    picture(0, (40, 30)).save(tmp_path / "0.png")
    picture(1, (50, 30)).save(tmp_path / "1.png", "JPEG")
    picture(2, (90, 10)).save(tmp_path / "2.png", "JPEG")
    facts = facts_of_images(examined(table(places(3), folder=tmp_path)))
    assert facts.sizes.width == (40, 50, 90)
    assert facts.sizes.height == (10, 30, 30)
    assert list(facts.formats.items()) == [("JPEG", 2), ("PNG", 1)]


def test_threads_change_nothing_and_every_image_is_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_WINDOW", 4)
    names = [*save_pictures(tmp_path, 10), "gone.png"]
    data = table(places(11), names=names, folder=tmp_path)
    calls = []
    one = examined(data, workers=1, on_progress=lambda done, total: calls.append((done, total)))
    many = examined(data, workers=3)
    assert calls == [(done, 11) for done in range(1, 12)]
    np.testing.assert_array_equal(one.thumbnails, many.thumbnails)
    np.testing.assert_array_equal(one.file, many.file)
    assert one.problems == many.problems


def test_decoders_warn_nobody(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5000)
    names = save_pictures(tmp_path, 2)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = examined(table(places(2), names=names, folder=tmp_path))
    assert caught == []
    assert len(found.rows) == 2


def test_a_failure_of_ours_is_not_hidden(tmp_path, monkeypatch):
    def broken(raw, bands):
        raise ZeroDivisionError

    monkeypatch.setattr(module, "look_at", broken)
    names = save_pictures(tmp_path, 2)
    with pytest.raises(ZeroDivisionError):
        examined(table(places(2), names=names, folder=tmp_path))
