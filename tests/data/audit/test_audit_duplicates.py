import io

import numpy as np
import pytest
from audit_tables import picture, places, save_pictures, table
from PIL import Image

from geocsp.data.audit.contents import look_at_all
from geocsp.data.audit.duplicates import (
    findings_of_duplicates,
    likes_of,
    same_files,
    same_pictures,
)
from geocsp.data.audit.leakage import leakage_of


def audited(data):
    contents = look_at_all(data.images, workers=2, on_progress=None)
    used = data.take(contents.rows)
    likes = likes_of(contents)
    return same_files(used, contents.file), same_pictures(used, contents.file, likes)


def encoded(image, **how):
    buffer = io.BytesIO()
    image.save(buffer, **how)
    return buffer.getvalue()


def test_different_pictures_are_no_copies(tmp_path):
    names = save_pictures(tmp_path, 60)
    files, pictures = audited(table(places(60), names=names, folder=tmp_path))
    for found in (files, pictures):
        assert (found.copies, found.groups) == (0, ())
        assert findings_of_duplicates(found) == []


def test_equal_bytes_are_one_file_whatever_the_name(tmp_path):
    names = save_pictures(tmp_path, 5)
    for copy, original in (("copy.png", 1), ("again.dat", 1), ("z.png", 3)):
        (tmp_path / copy).write_bytes((tmp_path / names[original]).read_bytes())
    names += ["copy.png", "again.dat", "z.png"]
    files, pictures = audited(table(places(8), names=names, folder=tmp_path))
    assert files.groups == ((1, 5, 6), (3, 7))
    assert files.copies == 3
    assert pictures.groups == ()


def change_metadata(image):
    exif = Image.Exif()
    exif[0x010E] = "another description"
    return encoded(image, format="JPEG", quality=95, exif=exif)


@pytest.mark.parametrize(
    "change",
    [
        change_metadata,
        lambda image: encoded(image, format="PNG"),
        lambda image: encoded(image, format="WEBP", quality=85),
        lambda image: encoded(image, format="JPEG", quality=75),
        lambda image: encoded(image.resize((180, 150)), format="JPEG", quality=85),
    ],
    ids=["metadata", "png", "webp", "quality", "size"],
)
def test_a_changed_file_of_one_picture_is_alike(tmp_path, change):
    names = save_pictures(tmp_path, 30)
    image = picture(99, size=(360, 300))
    (tmp_path / "a.jpg").write_bytes(encoded(image, format="JPEG", quality=95))
    (tmp_path / "b").write_bytes(change(Image.open(tmp_path / "a.jpg")))
    names += ["a.jpg", "b"]
    files, pictures = audited(table(places(32), names=names, folder=tmp_path))
    assert files.groups == ()
    assert pictures.groups == ((30, 31),)
    assert pictures.copies == 1


def test_flat_pictures_are_not_called_alike(tmp_path):
    for number in range(3):
        Image.new("RGB", (64, 64), (120, 121, 120 + number)).save(tmp_path / f"{number}.png")
    files, pictures = audited(table(places(3), folder=tmp_path))
    assert files.groups == ()
    assert pictures.groups == ()


def test_a_group_of_pictures_has_its_equal_files_too(tmp_path):
    picture(7).save(tmp_path / "0.png")
    picture(7).save(tmp_path / "1.png", compress_level=0)
    picture(7).save(tmp_path / "2.png")
    picture(8).save(tmp_path / "3.png")
    files, pictures = audited(table(places(4), folder=tmp_path))
    assert files.groups == ((0, 2),)
    assert pictures.groups == ((0, 1, 2),)


def test_all_pairs_that_are_alike_are_found():
    generator = np.random.default_rng(0)
    base = generator.integers(0, 256, (300, 192), dtype=np.uint8)
    noise = generator.integers(-1, 2, base.shape)
    near = np.clip(base.astype(int) + noise, 0, 255).astype(np.uint8)
    far = near.copy()
    far[:, 5] = (far[:, 5].astype(int) + 128) % 256

    class Contents:
        thumbnails = np.concatenate([base, near, far])
        has_thumbnail = np.ones(900, dtype=bool)
        file = np.arange(900)

    pairs = {tuple(pair) for pair in np.argwhere(likes_of(Contents).toarray()).tolist()}
    expected = {(n, n + 300) for n in range(300)}
    assert pairs == expected | {(b, a) for a, b in expected}


def test_likeness_does_not_reach_beyond_the_next_of_a_chain():
    ramp = np.linspace(20, 200, 192).astype(np.uint8)

    class Contents:
        thumbnails = np.stack([ramp + 3 * step for step in range(5)]).astype(np.uint8)
        has_thumbnail = np.ones(5, dtype=bool)
        file = np.arange(5)

    data = table(places(5), split=["train", "train", "train", "train", "test"])
    likes = likes_of(Contents)
    found = same_pictures(data, Contents.file, likes)
    assert found.groups == ((0, 1, 2, 3, 4),)
    assert found.across_splits == 2
    (pair,) = leakage_of(data, Contents.file, likes, 0)
    assert (pair.same_file, pair.same_picture) == (0, 1)
    apart = table(places(5), split=["train", "train", None, "test", "test"])
    (pair,) = leakage_of(apart, Contents.file, likes, 0)
    assert pair.same_picture == 0
    assert same_pictures(apart, Contents.file, likes).across_splits == 0


def test_pictures_that_disagree_are_counted_apart(tmp_path):
    for name, level in (("a.png", 9), ("b.png", 1), ("c.png", 5)):
        picture(1).save(tmp_path / name, compress_level=level)
    picture(2).save(tmp_path / "d.png")
    names = ["a.png", "a.png", "b.png", "c.png", "d.png"]
    data = table(
        [[1, 1], [1, 1], [1, 1.5], [np.nan, np.nan], [7, 7]],
        names=names,
        folder=tmp_path,
        split=["train", "train", "test", None, "test"],
        label=["x", "x", "x", "y", "z"],
    )
    files, pictures = audited(data)
    assert files.groups == ((0, 1),)
    assert (files.across_splits, files.other_labels, files.other_places) == (0, 0, 0)
    assert pictures.groups == ((0, 1, 2, 3),)
    assert (pictures.copies, pictures.across_splits) == (3, 3)
    assert (pictures.other_labels, pictures.other_places) == (4, 3)
    severities = [str(finding.severity) for finding in findings_of_duplicates(pictures)]
    assert severities == ["warning", "warning", "warning", "info"]


def test_copies_that_disagree_are_counted_apart(tmp_path):
    picture(1).save(tmp_path / "a.png")
    picture(2).save(tmp_path / "b.png")
    picture(3).save(tmp_path / "c.png")
    names = ["a.png", "a.png", "b.png", "b.png", "c.png", "c.png", "c.png"]
    lonlat = [[1, 1], [1, 1], [5, 5], [5, 5.001], [9, 9], [9, 9.5], [9, 9]]
    data = table(
        lonlat,
        names=names,
        folder=tmp_path,
        split=["train", "test", "train", "train", "train", "train", None],
        label=["x", "x", "x", "y", "z", "z", None],
    )
    files, _ = audited(data)
    assert (files.across_splits, files.other_labels, files.other_places) == (2, 2, 3)
    found = [(str(f.severity), f.rows, f.message) for f in findings_of_duplicates(files)]
    assert found == [
        ("error", 2, "copies (the same file) in more than one split: tests would be too good"),
        ("warning", 2, "copies (the same file) with different labels"),
        ("warning", 3, "copies (the same file) at places more than 1 km apart"),
        ("warning", 4, "copies (the same file) of an earlier image: see duplicates.csv"),
    ]


def test_copies_without_a_known_place_are_not_apart(tmp_path):
    picture(1).save(tmp_path / "a.png")
    data = table([[1, 1], [np.nan, np.nan]], names=["a.png", "a.png"], folder=tmp_path)
    files, _ = audited(data)
    assert (files.copies, files.other_places) == (1, 0)


def test_rows_can_be_renumbered():
    found = same_files(table(places(4)), np.array([0, 1, 0, 1]))
    assert found.groups == ((0, 2), (1, 3))
    assert found.renumbered(np.array([5, 6, 8, 9])).groups == ((5, 8), (6, 9))


def test_no_rows_have_no_duplicates():
    found = same_files(table(places(0)), np.empty(0, dtype=np.int64))
    assert (found.groups, found.copies) == ((), 0)
