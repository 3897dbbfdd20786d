import io
import json
import pickle
import tarfile
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import fsspec
import numpy as np
import pytest
from PIL import Image

from geocsp.data.images import Bands
from geocsp.data.options import Columns, ReadOptions
from geocsp.data.quarantine import Problem
from geocsp.data.read import read
from geocsp.data.readers import samples as samples_module
from geocsp.data.readers.shards import expand_braces, find_shards, read_shards
from geocsp.errors import DataError
from geocsp.images.decode import decode
from geocsp.images.framing import Framing


def picture(value=0, place=None, taken=None):
    """A JPEG, perhaps with a place (lon, lat) in its EXIF."""
    image, buffer = Image.new("RGB", (8, 8), (value, 0, 0)), io.BytesIO()
    exif = Image.Exif()
    if place is not None:
        lon, lat = place
        exif[0x8825] = {
            1: "N" if lat >= 0 else "S",
            2: (abs(lat), 0, 0),
            3: "E" if lon >= 0 else "W",
            4: (abs(lon), 0, 0),
        }
    if taken is not None:
        exif[0x8769] = {0x9003: taken}
    image.save(buffer, "JPEG", exif=exif)
    return buffer.getvalue()


def tar(files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files:
            info = tarfile.TarInfo(name)
            if not isinstance(content, (bytes, dict)):  # a link
                info.type, info.linkname = tarfile.SYMTYPE, content
                archive.addfile(info)
                continue
            content = json.dumps(content).encode() if isinstance(content, dict) else content
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def sample(key, value=0, **fields):
    fields = {"lat": 10.0 + value, "lon": 20.0} | fields
    return [(f"{key}.jpg", picture(value)), (f"{key}.json", fields)]


@pytest.fixture
def write(tmp_path):
    def write(files, name="000.tar"):
        content = files if isinstance(files, bytes) else tar(files)
        (tmp_path / name).write_bytes(content)
        return str(tmp_path / name)

    return write


@pytest.fixture
def memory():
    system = fsspec.filesystem("memory")
    yield system
    system.rm("/", recursive=True)


def short(table):
    """Names without their folder."""
    return [name.rpartition(".tar/")[2] for name in table.images.names.to_pylist()]


def problems(table):
    return [(p.file.rpartition(".tar/")[2], p.reason) for p in table.problems]


def test_images_and_places_of_a_shard(write):
    shard = write([*sample("a", 1, label="x"), *sample("b", 2, label="y")])
    table = read_shards(shard, ReadOptions())
    assert table.images.names.to_pylist() == [f"{shard}/a.jpg", f"{shard}/b.jpg"]
    assert table.lonlat.tolist() == [[20.0, 11.0], [20.0, 12.0]]
    assert table.class_names == ("x", "y")
    assert table.time is table.split is table.group is None
    assert table.problems == table.notes == ()
    assert [table.images.load(row) for row in (1, 0)] == [picture(2), picture(1)]


def test_read_knows_shards_and_hands_on_the_bands(write):
    shard = write(sample("a"))
    bands = Bands((1, 2, 3), 0, 10)
    assert read(shard, bands=bands).images.bands == bands


def test_rows_that_are_taken_keep_their_images(write):
    table = read_shards(write([s for n in range(5) for s in sample(f"{n}", n)]), ReadOptions())
    part = table.take(np.array([3, 0]))
    assert short(part) == ["3.jpg", "0.jpg"]
    assert part.images.load(0) == picture(3)
    assert part.images.stamps()[1] == table.images.stamps()[0]


def test_a_sample_is_a_name_up_to_its_first_dot(write):
    files = [
        ("x/1.jpg", picture(1)),
        ("x/1.mask.png", b"mask"),
        ("x/1.geo.json", {"lon": 1, "lat": 1}),
        ("y/1.png", picture(2)),
        ("y/1.json", {"lon": 2, "lat": 2}),
        ("z.v2/1.seg.webp", picture(3)),
        ("z.v2/1.JSON", {"lon": 3, "lat": 3}),
        ("__MACOSX/._1.jpg", b"junk"),
        ("README", b"text"),
    ]
    table = read_shards(write(files), ReadOptions())
    assert short(table) == ["x/1.jpg", "y/1.png", "z.v2/1.seg.webp"]
    assert table.lonlat[:, 0].tolist() == [1, 2, 3]
    assert table.problems == ()


def test_the_ending_of_the_image_can_be_named(write):
    files = [("a.rgb.png", b"rgb"), ("a.s2.bin", b"bands"), ("a.json", {"lon": 1, "lat": 1})]
    table = read_shards(write(files), ReadOptions(Columns(image="s2.bin")))
    assert short(table) == ["a.s2.bin"]
    assert table.images.load(0) == b"bands"
    table = read_shards(write(files), ReadOptions(Columns(image="jpg")))
    assert problems(table) == [("a", "holds no jpg, but rgb.png, s2.bin, json")]


def test_small_texts_are_fields(write):
    files = [
        ("a.cls", b"10\n"),
        ("a.jpg", picture()),
        ("a.json", {"label": "other", "split": "test"}),
        ("a.lat", b" 48,5 "),
        ("a.lon", b"2.25"),
        ("a.txt", b"a caption"),
        ("b.cls", b"9"),
        ("b.jpg", picture()),
        ("b.json", {"lon": 1, "lat": 2}),
    ]
    table = read_shards(write(files), ReadOptions())
    assert table.class_names == ("9", "10")
    assert table.label.codes.tolist() == [1, 0]
    assert table.lonlat.tolist() == [[2.25, 48.5], [1, 2]]
    assert table.split.codes.tolist() == [0, -1]
    table = read_shards(write(files), ReadOptions(Columns(label="txt")))
    assert table.class_names == ("a caption",)


def test_fields_of_the_json_can_be_named(write):
    shard = write(sample("a", meta={"kind": "k", "when": "2026-01-31T12:00:00Z"}))
    table = read_shards(shard, ReadOptions(Columns(label="meta.kind", time="meta.when")))
    assert table.class_names == ("k",)
    assert table.time[0, 1] == pytest.approx(12 + 20 / 15)
    with pytest.raises(DataError, match="no field 'kind' for label; its fields are lat, lon, meta"):
        read_shards(shard, ReadOptions(Columns(label="kind")))


def test_coordinates_of_another_crs(write):
    pytest.importorskip("pyproj")
    files = [("a.jpg", picture()), ("a.json", {"lon": 500_000, "lat": 5_400_000})]
    files += [("b.jpg", picture(place=(5, 6)))]
    table = read_shards(write(files), ReadOptions(crs="EPSG:32631"))
    assert table.lonlat == pytest.approx(np.array([[3.0, 48.7525], [5.0, 6.0]]), abs=1e-3)


def test_exif_tells_the_place_where_no_field_does(write):
    files = [
        ("a.jpg", picture(1, place=(-70, -33), taken="2026:01:31 06:30:00")),
        ("a.json", {"label": "x", "lat": None}),
        *sample("b", 2),
        ("c.jpg", picture(3)),
    ]
    table = read_shards(write(files), ReadOptions())
    assert table.lonlat.tolist() == [[-70, -33], [20, 12]]
    assert table.time[0, 1] == 6.5
    assert np.isnan(table.time[1]).all()
    assert problems(table) == [("c.jpg", "no coordinates")]


def test_fields_come_before_exif(write):
    files = [("a.jpg", picture(place=(-70, -33))), ("a.json", {"lon": 1, "lat": 2})]
    assert read_shards(write(files), ReadOptions()).lonlat.tolist() == [[1, 2]]


def test_the_georeference_of_chips_counts(write):
    rasterio = pytest.importorskip("rasterio")
    facts = {"driver": "GTiff", "width": 4, "height": 4, "count": 2, "dtype": "uint16"}
    transform = rasterio.transform.from_origin(10, 50, 0.5, 0.5)
    with rasterio.io.MemoryFile() as file:
        with file.open(**facts, crs="EPSG:4326", transform=transform) as chip:
            chip.write(np.ones((2, 4, 4), np.uint16))
        content = file.read()
    table = read_shards(write([("a.tif", content)]), ReadOptions())
    assert table.lonlat.tolist() == [[11, 49]]


def test_images_that_cannot_be_placed_say_why(write):
    table = read_shards(write([("a.jpg", b"<html>"), *sample("b")]), ReadOptions())
    assert problems(table) == [("a.jpg", "is a web page, not an image")]


def test_unplaced_images_are_kept_if_asked_for(write):
    shard = write([("a.jpg", picture(1)), ("a.json", {"label": "x"}), *sample("b")])
    table = read_shards(shard, ReadOptions(keep_unplaced=True))
    assert short(table) == ["a.jpg", "b.jpg"]
    assert np.isnan(table.lonlat[0]).all()


def test_unusable_coordinates_are_told_with_their_image(write):
    files = [*sample("a", lat=95), *sample("b", lat="x"), *sample("c"), *sample("d", lon=True)]
    table = read_shards(write(files), ReadOptions())
    assert short(table) == ["c.jpg"]
    assert problems(table) == [
        ("a.jpg", "latitude 95 is outside [-90, 90] degrees; are longitude and latitude swapped?"),
        ("b.jpg", "lat 'x' is not a number"),
        ("d.jpg", "lon 'True' is not a number"),
    ]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"{", "is no JSON: Expecting property name"),
        (b"\xff\xfe\xff", "is no JSON:"),
        (b"[" * 100_000, "is no JSON: "),
        (b"[1]", "holds a JSON list, not an object with fields"),
        (b"", "is no JSON: "),
        (b'{"lat": 1, "lon": ' + b"9" * 5000 + b"}", "is no JSON: "),
    ],
)
def test_broken_json_leaves_out_its_sample_alone(write, content, reason):
    files = [("a.jpg", picture(place=(1, 2))), ("a.json", content), *sample("b")]
    table = read_shards(write(files), ReadOptions())
    assert short(table) == ["b.jpg"]
    assert [name for name, _ in problems(table)] == ["a.json"]
    assert problems(table)[0][1].startswith(reason)


def test_odd_numbers_and_letters_in_json(write):
    files = [
        ("a.jpg", picture()),
        ("a.json", b'{"lat": NaN, "lon": 1}'),
        ("b.jpg", picture()),
        ("b.json", b'\xef\xbb\xbf{"lat": 1e999, "lon": 1}'),
        ("c.jpg", picture()),
        ("c.json", b'{"lat": 1, "lon": 2, "label": "\\ud800"}'),
        ("d.jpg", picture()),
        ("d.json", {"lat": 1, "lon": 2, "label": {"a": [1]}, "split": [1, 2]}),
    ]
    table = read_shards(write(files), ReadOptions())
    assert short(table) == ["c.jpg", "d.jpg"]
    assert table.class_names == ("\\ud800",)
    assert problems(table) == [
        ("a.jpg", "no latitude"),
        ("b.jpg", "coordinates are not finite: lon 1, lat inf"),
    ]


def test_files_that_are_too_large_are_not_read(write, monkeypatch):
    monkeypatch.setattr(samples_module, "_LARGEST_TEXT", 100)
    files = [("a.jpg", picture(place=(1, 2))), ("a.json", {"x": "y" * 100}), *sample("b")]
    table = read_shards(write(files), ReadOptions())
    assert problems(table) == [("a.json", "has 109 bytes, more than 100")]
    monkeypatch.setattr(samples_module, "_LARGEST_IMAGE", 100)
    table = read_shards(write(sample("a")), ReadOptions())
    assert problems(table) == [("a.jpg", f"has {len(picture())} bytes, more than 100")]


def test_a_second_file_of_a_sample_is_told(write):
    files = [("a.jpg", picture(1)), ("a.jpg", picture(2)), ("a.json", {"lat": 1, "lon": 2})]
    table = read_shards(write(files), ReadOptions())
    assert table.images.load(0) == picture(1)
    assert problems(table) == [("a.jpg", "is there twice in its sample; the first is used")]


def test_samples_of_one_name_apart_from_each_other_are_two(write):
    table = read_shards(write([*sample("a", 1), *sample("b", 2), *sample("a", 3)]), ReadOptions())
    assert table.lonlat[:, 1].tolist() == [11, 12, 13]
    assert table.images.load(2) == picture(3)


def test_links_are_not_followed(write):
    files = [("a.jpg", "/etc/passwd"), ("a.json", {"lat": 1, "lon": 2}), *sample("b")]
    table = read_shards(write(files), ReadOptions())
    assert short(table) == ["b.jpg"]
    reason = "is a link or a sparse file; only plain files can be used"
    assert problems(table) == [("a.jpg", reason)]


@pytest.mark.parametrize(
    "name", ["/etc/a", "../../a", "c:\\a", "caf\udce9", "n\new", "f/" * 150 + "a"]
)
def test_odd_names_are_harmless(write, name, tmp_path):
    before = sorted(tmp_path.iterdir())
    shard = write(sample(name))
    table = read_shards(shard, ReadOptions())
    assert short(table) == [name.replace("\udce9", "\\udce9") + ".jpg"]
    assert table.images.load(0) == picture()
    assert sorted(tmp_path.iterdir()) == [*before, tmp_path / "000.tar"]
    assert len(table.fingerprint) == 64


def test_samples_without_an_image_are_told(write):
    table = read_shards(write([("a.json", {}), ("a.npy", b""), *sample("b")]), ReadOptions())
    assert problems(table) == [("a", "holds no image, but json, npy")]


@pytest.mark.parametrize("where", ["image", "json"])
def test_a_cut_shard_is_used_up_to_the_cut(write, where):
    content = tar([*sample("a", 1), *sample("b", 2), *sample("c", 3)])
    mark = content.index(b"c.jpg" if where == "image" else b"c.json")
    shard = write(content[: mark + 515])
    table = read_shards(shard, ReadOptions())
    assert short(table) == ["a.jpg", "b.jpg"]
    (problem,) = table.problems
    ending = "jpg" if where == "image" else "json"
    assert problem.file == shard
    assert problem.reason.startswith(f"ends within c.{ending}, at byte {mark + 515:,} of at least")


def test_a_shard_that_was_never_closed_is_used(write):
    content = tar([*sample("a", 1), *sample("b", 2)])
    shard = write(content.rstrip(b"\0") + b"\0" * (-len(content.rstrip(b"\0")) % 512))
    table = read_shards(shard, ReadOptions())
    assert short(table) == ["a.jpg", "b.jpg"]
    reason = "has no end mark, so it may have been cut short; copy it again"
    assert table.problems == (Problem(shard, None, reason),)


def test_what_is_no_shard_is_refused(write):
    with pytest.raises(DataError, match=r"000\.tar is no tar file"):
        read_shards(write(b"hello"), ReadOptions())
    with pytest.raises(DataError, match=r"is compressed \(gzip\), .*decompress it"):
        read_shards(write(b"\x1f\x8b\x08", "a.tar.gz"), ReadOptions())
    with pytest.raises(DataError, match="no image with a place"):
        read(write([]))
    with pytest.raises(DataError, match="no image with a place"):
        read(write([]), columns=Columns(label="kind"))


def test_a_folder_of_shards(write, tmp_path):
    write(sample("b", 2), "2.tar")
    write(sample("a", 1), "1.TAR")
    write(b"\x1f\x8b\x08", "3.tgz")
    write(b"text", "notes.txt")
    table = read_shards(str(tmp_path), ReadOptions())
    assert table.lonlat[:, 1].tolist() == [11, 12]
    assert [p.file for p in table.problems] == [str(tmp_path / "3.tgz")]
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty holds no \.tar file"):
        read_shards(str(tmp_path / "empty"), ReadOptions())


def test_patterns_of_shards(write, tmp_path):
    for number in (8, 9, 10):
        write(sample("a", number), f"s-{number:03d}.tar")
    braces = read_shards(f"{tmp_path}/s-{{008..011}}.tar", ReadOptions())
    assert braces.lonlat[:, 1].tolist() == [18, 19, 20]
    assert braces.problems == (Problem(f"{tmp_path}/s-011.tar", None, "is not there"),)
    assert find_shards(f"{tmp_path}/s-00*.tar") == [f"{tmp_path}/s-00{n}.tar" for n in (8, 9)]
    with pytest.raises(DataError, match="no such shards"):
        find_shards(f"{tmp_path}/x*.tar")
    with pytest.raises(DataError, match=r"missing\.tar is not there"):
        read_shards(str(tmp_path / "missing.tar"), ReadOptions())


def test_what_urls_ask_for_is_no_pattern():
    assert find_shards("https://host/a.tar?key=*&x=1") == ["https://host/a.tar?key=*&x=1"]


def test_a_file_with_braces_in_its_name_is_itself(write):
    shard = write(sample("a"), "{1..2}.tar")
    assert find_shards(shard) == [shard]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("a.tar", ["a.tar"]),
        ("{0..2}", ["0", "1", "2"]),
        ("{08..10}", ["08", "09", "10"]),
        ("{a,b}-{00..01}", ["a-00", "a-01", "b-00", "b-01"]),
        ("{}{x}{1..b}", ["{}{x}{1..b}"]),
        ("{a,}x", ["ax", "x"]),
    ],
)
def test_braces(pattern, expected):
    assert list(expand_braces(pattern)) == expected


@pytest.mark.parametrize("pattern", ["{0..999999999}", "{0..9999}{0..9999}"])
def test_braces_that_stand_for_too_much(pattern):
    with pytest.raises(DataError, match="more than 1,000,000 shards"):
        list(expand_braces(pattern))


def test_names_of_shards_tell_the_split(write, tmp_path):
    write(sample("a"), "x-train-0.tar")
    write([*sample("b"), *sample("c")], "x-val-0.tar")
    table = read_shards(str(tmp_path), ReadOptions())
    assert table.split.texts().to_pylist() == ["train", "validation", "validation"]
    assert table.notes == ("splits are taken from the names of the shards",)
    write(sample("d", split="test"), "x-test-0.tar")
    assert read_shards(str(tmp_path), ReadOptions()).split.names == ("test",)


@pytest.mark.parametrize("source", ["memory://s/*.tar", "memory://s/{0..1}.tar", "memory://s"])
def test_shards_of_another_file_system(memory, source):
    for number in range(2):
        memory.pipe(f"/s/{number}.tar", tar(sample("a", number)))
    table = read_shards(source, ReadOptions())
    names = [name.replace(":///", "://") for name in table.images.names.to_pylist()]
    assert names == ["memory://s/0.tar/a.jpg", "memory://s/1.tar/a.jpg"]
    assert [table.images.load(row) for row in range(2)] == [picture(0), picture(1)]


def test_a_remote_shard_that_is_not_there(memory):
    with pytest.raises(DataError, match=r"memory://no\.tar is not there"):
        read_shards("memory://no.tar", ReadOptions())
    with pytest.raises(DataError, match=r"nope://a\.tar cannot be read: Protocol not known: nope"):
        read_shards("nope://a.tar", ReadOptions())


def test_commands_are_not_run(tmp_path):
    with pytest.raises(DataError, match="is not there"):
        read_shards(f"pipe:touch {tmp_path}/x.tar", ReadOptions())
    assert not (tmp_path / "x.tar").exists()


def test_only_the_bytes_of_an_image_are_read(memory, monkeypatch):
    memory.pipe("/a.tar", tar([*sample("a", 1), *sample("b", 2)]))
    table = read_shards("memory://a.tar", ReadOptions())
    asked = []
    original = type(memory).cat_file
    monkeypatch.setattr(
        type(memory),
        "cat_file",
        lambda self, path, start=None, end=None: (
            asked.append(end - start) or original(self, path, start=start, end=end)
        ),
    )
    assert table.images.load(1) == picture(2)
    assert asked == [len(picture(2))]


def test_stamps_change_with_the_shard(write):
    files = [*sample("a"), *sample("b")]
    table = read_shards(write(files), ReadOptions())
    stamps = list(table.images.stamps())
    assert len(set(stamps)) == len(stamps) == 2
    write([*files, *sample("c")])
    assert set(stamps).isdisjoint(table.images.stamps())


def test_a_shard_that_changed_is_told(write, tmp_path):
    table = read_shards(write(sample("a")), ReadOptions())
    write(b"short")
    with pytest.raises(DataError, match="has become shorter since it was read; read it again"):
        table.images.load(0)
    (tmp_path / "000.tar").unlink()
    with pytest.raises(FileNotFoundError):
        table.images.load(0)
    assert table.images.stamps()[0].startswith("missing")


def test_images_come_through_copies_and_threads(write):
    table = read_shards(write([s for n in range(50) for s in sample(f"{n}", n)]), ReadOptions())
    images = pickle.loads(pickle.dumps(table.images))
    with ThreadPoolExecutor(8) as pool:
        loaded = list(pool.map(images.load, range(50)))
    assert loaded == [picture(n) for n in range(50)]
    square = decode(loaded[7], Framing(pixels=4))
    assert square.shape == (4, 4, 3)


def test_samples_that_webdataset_writes_are_read_as_it_reads_them(tmp_path):
    webdataset = pytest.importorskip("webdataset")
    path = str(tmp_path / "w.tar")
    with webdataset.TarWriter(path) as writer:
        for n in range(3):
            fields = {"lat": n + 1.0, "lon": 2.0}
            writer.write({"__key__": f"d.x/{n}", "jpg": picture(n), "json": fields, "cls": n})
    table = read_shards(path, ReadOptions())
    theirs = list(webdataset.WebDataset(path, shardshuffle=False))
    assert [name.removesuffix(".jpg") for name in short(table)] == [s["__key__"] for s in theirs]
    assert [table.images.load(n) for n in range(3)] == [s["jpg"] for s in theirs]
    assert table.class_names == ("0", "1", "2")


def test_many_samples_take_little_memory(write, monkeypatch):
    monkeypatch.setattr(samples_module, "_ROWS", 500)
    shard = write(
        [
            s
            for n in range(3000)
            for s in (
                (f"{n:06d}.jpg", b"x"),
                (f"{n:06d}.json", {"lat": 1, "lon": 2, "caption": "c" * 100}),
            )
        ]
    )
    read_shards(shard, ReadOptions())
    tracemalloc.start()
    table = read_shards(shard, ReadOptions())
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(table) == 3000
    assert held < 60 * 3000
    assert peak < 3_000_000
