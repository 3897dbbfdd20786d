"""A folder of photos with everything in it that people's folders hold."""

from __future__ import annotations

import importlib.util
import io
import os
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.ExifTags import GPS, IFD, Base
from PIL.TiffImagePlugin import IFDRational

XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
    'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
    'xmlns:exif="http://ns.adobe.com/exif/1.0/" {}/></rdf:RDF></x:xmpmeta>'
)
BOMB = (
    '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY a "aaaaaaaaaa">'
    + "".join(f'<!ENTITY a{n} "{("&a" + (str(n - 1) if n else "") + ";") * 10}">' for n in range(9))
    + "]><a>&a8;</a>"
)
"""XML that would grow to ten thousand million letters."""


@dataclass
class Hostile:
    """What is in the folder.

    Attributes:
        good: names of the photos that can be used.
        bad_at_reading: names of those that are listed when the folder is read, and a pattern of
            the reason.
        bad_at_decoding: the same of those that show what is wrong with them when decoded.
    """

    good: set[str] = field(default_factory=set)
    bad_at_reading: dict[str, str] = field(default_factory=dict)
    bad_at_decoding: dict[str, str] = field(default_factory=dict)


def gps(lon: float, lat: float, **changes) -> dict[int, object]:
    """Tags of a GPS directory; a change to None leaves a tag out."""
    tags = {
        GPS.GPSLatitudeRef: "S" if lat < 0 else "N",
        GPS.GPSLatitude: dms(lat),
        GPS.GPSLongitudeRef: "W" if lon < 0 else "E",
        GPS.GPSLongitude: dms(lon),
    }
    tags |= {GPS[name]: value for name, value in changes.items()}
    return {tag: value for tag, value in tags.items() if value is not None}


def dms(angle: float) -> tuple[IFDRational, ...]:
    """Degrees, minutes and seconds as rationals."""
    micro = round(abs(angle) * 3600 * 10_000)
    degrees, rest = divmod(micro, 3600 * 10_000)
    minutes, rest = divmod(rest, 60 * 10_000)
    return IFDRational(degrees, 1), IFDRational(minutes, 1), IFDRational(rest, 10_000)


def exif(tags: dict[int, object] | None = None, **base) -> Image.Exif:
    """An EXIF block with a GPS directory; base tags by name, DateTimeOriginal among them."""
    block = Image.Exif()
    camera = {Base[name]: base.pop(name) for name in [*base] if "Original" in name}
    for directory, content in ((IFD.GPSInfo, tags), (IFD.Exif, camera)):
        if content:
            block.get_ifd(directory).update(content)
            block[directory] = content
    for name, value in base.items():
        block[Base[name]] = value
    return block


_FORMATS = {1: "B", 2: "s", 3: "H", 4: "L", 5: "LL", 7: "s", 9: "l", 10: "ll", 11: "f", 12: "d"}


def typed_exif(tags: dict[int, tuple[int, list]]) -> bytes:
    """An EXIF block whose GPS directory has tags of any type of TIFF, by its number."""
    start = 26 + 2 + 12 * len(tags) + 4
    entries, data = b"", b""
    for tag, (kind, values) in sorted(tags.items()):
        flat = [part for value in values for part in (value if kind in (5, 10) else [value])]
        if kind in (2, 7):
            content = b"".join(flat)
            count = len(content)
        else:
            content = struct.pack(">" + _FORMATS[kind] * len(values), *flat)
            count = len(values)
        place = content.ljust(4, b"\0")
        if len(content) > 4:
            place = struct.pack(">L", start + len(data))
            data += content
        entries += struct.pack(">HHL", tag, kind, count) + place
    head = b"MM\0*" + struct.pack(">LHHHLLL", 8, 1, IFD.GPSInfo, 4, 1, 26, 0)
    return b"Exif\0\0" + head + struct.pack(">H", len(tags)) + entries + bytes(4) + data


def picture(mode: str = "RGB", size: tuple[int, int] = (48, 32), seed: int = 0) -> Image.Image:
    """A smooth picture with some noise."""
    width, height = size
    y, x = np.mgrid[0:height, 0:width]
    phase = seed * 0.7
    waves = [np.sin(x / 9 + phase), np.cos(y / 7 - phase), np.sin((x + y) / 11 + phase)]
    colours = np.stack([127 + 100 * wave for wave in waves], axis=2)
    noise = np.random.default_rng(seed).integers(-8, 9, colours.shape)
    return Image.fromarray((colours + noise).clip(0, 255).astype(np.uint8)).convert(mode)


def encoded(image: Image.Image, kind: str = "JPEG", **options) -> bytes:
    """Content of the file of an image."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png_chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a PNG file."""
    check = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)


def huge_png(width: int, height: int) -> bytes:
    """A small PNG file that claims to be of any size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = png_chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + pixels + png_chunk(b"IEND", b"")


def png_16(numbers: np.ndarray, extra: bytes = b"") -> bytes:
    """A PNG file of ``(H, W, 3)`` uint16."""
    height, width, _ = numbers.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in numbers)
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    chunks = png_chunk(b"IHDR", header) + extra + png_chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + chunks + png_chunk(b"IEND", b"")


def with_late_exif(png: bytes, block: bytes) -> bytes:
    """A PNG file with an EXIF chunk behind its pixels."""
    return png[:-12] + png_chunk(b"eXIf", block) + png[-12:]


def xmp(lon: str, lat: str) -> bytes:
    """An XMP packet that names a place."""
    return XMP.format(f'exif:GPSLatitude="{lat}" exif:GPSLongitude="{lon}"').encode()


def geotiff(path: Path, numbers: np.ndarray, **profile) -> None:
    """Write ``(bands, H, W)`` with a georeference: by default half a degree at 7 E, 47 N."""
    import rasterio
    from rasterio.transform import from_origin

    bands, height, width = numbers.shape
    settings = {"crs": "EPSG:4326", "transform": from_origin(7, 47, 0.5 / width, 0.5 / height)}
    settings |= profile
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=width,
        height=height,
        count=bands,
        dtype=numbers.dtype,
        **settings,
    ) as file:
        file.write(numbers)


def make_hostile_folder(folder: Path, count: int = 2000, seed: int = 0) -> Hostile:
    """Fill a folder with ``count`` photos and things that pass for photos.

    A few are hostile, each in its own way, and all others are good photos of several kinds in
    folders of classes.

    Args:
        folder: an empty folder.
        count: number of names in the answer.
        seed: of the places.
    """
    maker = _Maker(folder, np.random.default_rng(seed), Hostile())
    for fill in (_good_oddities, _chips, _unusable, _unplaced, _links, _damaged_pixels):
        fill(maker)
    found = maker.found
    maker.fill(count - sum(map(len, (found.good, found.bad_at_reading, found.bad_at_decoding))))
    return found


@dataclass
class _Maker:
    folder: Path
    random: np.random.Generator
    found: Hostile

    def write(self, name: str, content: bytes) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def good(self, name: str, content: bytes) -> None:
        self.write(name, content)
        self.found.good.add(name)

    def bad(self, name: str, content: bytes, reason: str) -> None:
        self.write(name, content)
        self.found.bad_at_reading[name] = reason

    def broken(self, name: str, content: bytes, reason: str) -> None:
        self.write(name, content)
        self.found.bad_at_decoding[name] = reason

    def block(self, **base) -> Image.Exif:
        """EXIF with a place on land or sea, not at (0, 0)."""
        lon, lat = self.random.uniform(-179, 179), self.random.uniform(1, 84)
        return exif(gps(lon, lat), **base)

    def fill(self, count: int) -> None:
        """Plain good photos, of which only the pixels repeat."""
        kinds: list[Callable[[Image.Exif], bytes]] = [
            lambda block: encoded(pictures[0], exif=block, quality=85),
            lambda block: encoded(pictures[1], exif=block, progressive=True),
            lambda block: encoded(pictures[2].convert("L"), exif=block),
            lambda block: encoded(pictures[3], "PNG", exif=block, compress_level=1),
            lambda block: encoded(pictures[4], "WEBP", exif=block, method=0),
        ]
        endings = ["jpg", "JPG", "jpeg", "png", "webp"]
        pictures = [picture(seed=number) for number in range(len(kinds))]
        classes = ["forest", "lake", "städte/été", "山"]
        for number in range(count):
            kind = 0 if number % 3 else number % len(kinds)
            moment = f"2024:{1 + number % 12:02d}:11 09:{number % 60:02d}:00"
            content = kinds[kind](self.block(DateTimeOriginal=moment))
            self.good(f"{classes[number % 4]}/IMG_{number:05d}.{endings[kind]}", content)


def _good_oddities(maker: _Maker) -> None:
    block, small = maker.block, picture()
    maker.good("lake/orientation.jpg", encoded(small, exif=block(Orientation=6)))
    maker.good("lake/cmyk.jpg", encoded(picture("CMYK"), exif=block()))
    deep = np.asarray(small).astype(np.uint16) * 257
    chunk = png_chunk(b"eXIf", block().tobytes()[6:])
    maker.good("lake/16 bits.png", png_16(deep, chunk))
    grey = Image.fromarray(deep[:, :, 0])
    maker.good("lake/16 bits grey.png", encoded(grey, "PNG", exif=block()))
    maker.good("lake/1 bit.png", encoded(picture("1"), "PNG", exif=block()))
    palette = picture("P")
    maker.good("lake/palette.png", encoded(palette, "PNG", exif=block(), transparency=3))
    maker.good("lake/rgba.png", encoded(picture("RGBA"), "PNG", exif=block()))
    maker.good("lake/exif last.png", with_late_exif(encoded(small, "PNG"), block().tobytes()[6:]))
    frames = [picture(seed=number) for number in range(3)]
    moving = {"save_all": True, "append_images": frames[1:]}
    maker.good("lake/moving.webp", encoded(frames[0], "WEBP", exif=block(), **moving))
    maker.good("lake/moving.png", encoded(frames[0], "PNG", exif=block(), **moving))
    maker.good("lake/moving.gif", encoded(frames[0], "GIF", **moving))
    maker.write("lake/moving.gif.xmp", xmp("8,30.5E", "47,23.456N"))
    maker.good("lake/beside.jpg", encoded(small))
    maker.write("lake/beside.XMP", xmp("58,22,54W", "34,36,13S"))
    maker.good("lake/inside.jpg", encoded(small, xmp=xmp("8.5", "-47.25")))
    maker.good("lake/photo.tif", encoded(small, "TIFF", exif=block()))
    maker.good("lake/photo.jp2", encoded(small, "JPEG2000"))
    maker.write("lake/photo.xmp", xmp("-0.5", "51.5"))
    maker.good("lake/a png.jpg", encoded(small, "PNG", exif=block()))
    maker.good("lake/a jpeg.gif", encoded(small, exif=block()))
    maker.good("lake/no ending", encoded(small, exif=block()))
    maker.good("lake/odd.ending", encoded(small, exif=block()))
    small_refs = gps(-58, -34, GPSLatitudeRef="s", GPSLongitudeRef="west")
    maker.good("lake/small letters.jpg", encoded(small, exif=exif(small_refs)))
    maker.good("lake/one pixel.png", encoded(picture(size=(1, 1)), "PNG", exif=block()))
    maker.good("lake/long.png", encoded(picture(size=(1, 5000)), "PNG", exif=block()))
    maker.good("lake/new\nline, \"quotes\" & 'more' #?.jpg", encoded(small, exif=block()))
    maker.good("lake/Übergrößenträger 湖 🏔️.jpg", encoded(small, exif=block()))
    maker.good(f"lake/{'x' * 251}.jpg", encoded(small, exif=block()))
    maker.good("/".join(["lake", *["deep"] * 60, "photo.jpg"]), encoded(small, exif=block()))
    damaged = b"Exif\0\0II*\0" + bytes(range(64))
    maker.good("lake/exif damaged, xmp good.jpg", encoded(small, exif=damaged, xmp=xmp("8", "47")))
    _heic(maker)
    for name in (".DS_Store", "Thumbs.db", "notes.txt", "takeout.json", "._photo.jpg", ".hidden"):
        maker.write(f"lake/{name}", b"\0\1\2 not a photo")


def _heic(maker: _Maker) -> None:
    if importlib.util.find_spec("pillow_heif") is None:
        header = struct.pack(">I4s4sI4s4s", 24, b"ftyp", b"heic", 0, b"mif1", b"heic")
        maker.bad("lake/phone.heic", header, r"is a HEIC image; .*geocsp\[photos\]")
        return
    import pillow_heif

    pillow_heif.register_heif_opener()
    content = encoded(picture(size=(64, 64)), "HEIF", exif=maker.block().tobytes(), quality=80)
    maker.good("lake/phone.heic", content)
    maker.good("lake/a heic.jpg", content)
    maker.bad("lake/cut.heic", content[:100], "is damaged|is a damaged HEIC")


def _chips(maker: _Maker) -> None:
    if importlib.util.find_spec("rasterio") is None:
        return
    rgb = np.asarray(picture(size=(16, 16))).transpose(2, 0, 1)
    (maker.folder / "chips").mkdir(exist_ok=True)
    cases = {"rgb.tif": (rgb, {}), "grey.tif": (rgb[:1], {"compress": "lzw"})}
    for name, (numbers, profile) in cases.items():
        geotiff(maker.folder / "chips" / name, numbers, **profile)
        maker.found.good.add(f"chips/{name}")
    cases = {
        "float.tif": (rgb[:1].astype(np.float32), "has decimal numbers; name the bands"),
        "13 bands.tif": (rgb[:1].repeat(13, axis=0), "makes no RGB picture; name the bands"),
    }
    for name, (numbers, reason) in cases.items():
        geotiff(maker.folder / "chips" / name, numbers)
        maker.found.bad_at_decoding[f"chips/{name}"] = reason
    geotiff(maker.folder / "chips" / "nowhere.tif", rgb, crs=None)
    maker.found.bad_at_reading["chips/nowhere.tif"] = "names no reference system"


def _unusable(maker: _Maker) -> None:
    jpeg = encoded(picture(), exif=maker.block())
    maker.bad("lake/empty.jpg", b"", r"^is empty \(0 bytes\)$")
    maker.bad("lake/zeros.jpg", bytes(4096), "holds zeros alone")
    maker.bad("lake/page.jpg", b"<!DOCTYPE html><html><body>404", "is a web page")
    maker.bad("lake/renamed text.jpg", b"Dear diary,\ntoday I saw a lake.", "is text")
    maker.bad("lake/pointer.jpg", b"version https://git-lfs.github.com/spec/v1\n", "Git LFS")
    maker.bad("lake/archive.jpg", b"PK\x03\x04" + bytes(range(200)), "is a zip archive")
    maker.bad("lake/live.mov", b"\0\0\0\x14ftypqt  \0\0\0\0qt  ", "is a video")
    maker.bad("lake/noise.jpg", bytes(range(255, 0, -1)), "is no image of a known format")
    maker.bad("lake/head alone.jpg", jpeg[:30], "is damaged|is no image of a known format")
    maker.bad("lake/bomb.png", huge_png(60_000, 60_000), r"has more than [\d,]+ pixels")
    maker.bad("lake/raw.NEF", encoded(picture(), "TIFF"), "is a camera's raw file")


def _unplaced(maker: _Maker) -> None:
    small = picture()

    def bad(name: str, tags: dict[int, object], reason: str) -> None:
        maker.bad(f"lake/{name}", encoded(small, exif=exif(tags)), reason)

    none = "^no GPS coordinates in EXIF or XMP$"
    maker.bad("lake/no exif.jpg", encoded(small), none)
    maker.bad("lake/no gps.jpg", encoded(small, exif=exif(Make="Camera")), none)
    maker.bad("lake/no gps.png", encoded(small, "PNG"), none)
    maker.bad("top.jpg", encoded(small), none)
    bad("no hemisphere.jpg", gps(8, 47, GPSLatitudeRef=None), "latitude without hemisphere")
    bad("no longitude.jpg", gps(8, 47, GPSLongitude=None), "latitude but no longitude")
    bad("origin.jpg", gps(0, 0), "lon 0, lat 0")
    bad("beyond.jpg", gps(8, 95), r"latitude 95 is outside \[-90, 90\]")
    nothing = (IFDRational(0, 0),) * 3
    bad("nan.jpg", gps(8, 47, GPSLatitude=nothing), "GPS latitude is no number: nan, nan, nan")
    bad("minutes.jpg", gps(8, 47, GPSLatitude=(47.0, 99.0, 0.0)), "is no angle: 47, 99, 0")
    damaged = b"Exif\0\0II*\0" + bytes(range(64))
    maker.bad("lake/exif damaged.jpg", encoded(small, exif=damaged), "EXIF is damaged|^no GPS")
    maker.bad("lake/xml bomb inside.jpg", encoded(small, xmp=BOMB.encode()), "defines entities")
    maker.bad("lake/xml bomb beside.jpg", encoded(small), "defines entities")
    maker.write("lake/xml bomb beside.xmp", BOMB.encode())


def _links(maker: _Maker) -> None:
    found, folder = maker.found, maker.folder
    maker.good("linked/photo.jpg", encoded(picture(), exif=maker.block()))
    (folder / "linked/same.jpg").symlink_to("photo.jpg")
    (folder / "linked/up").symlink_to("..")
    (folder / "linked/round").symlink_to(".")
    (folder / "linked/gone.jpg").symlink_to("nothing.jpg")
    found.bad_at_reading["linked/gone.jpg"] = "is a link to a file that is not there"
    (folder / "linked/self.jpg").symlink_to("self.jpg")
    found.bad_at_reading["linked/self.jpg"] = "leads nowhere but to itself"
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "linked/pipe.jpg")
        found.bad_at_reading["linked/pipe.jpg"] = "is a pipe"
    if hasattr(os, "geteuid") and os.geteuid() != 0:
        maker.bad("linked/locked.jpg", b"", "cannot be opened: Permission denied")
        (folder / "linked/locked.jpg").chmod(0)
    try:
        with open(os.fsencode(folder) + b"/linked/caf\xe9.jpg", "wb") as file:  # noqa: PTH123
            file.write(encoded(picture(), exif=maker.block()))
    except OSError:  # a file system that takes Unicode alone
        return
    found.bad_at_reading["linked/caf\\udce9.jpg"] = "has a name that is not Unicode"


def _damaged_pixels(maker: _Maker) -> None:
    big = picture(size=(200, 150))
    jpeg = encoded(big, exif=maker.block())
    maker.broken("lake/cut.jpg", jpeg[: len(jpeg) * 2 // 3], "is damaged: image file is truncated")
    png = encoded(big, "PNG", exif=maker.block())
    maker.broken("lake/cut.png", png[: len(png) // 2], "is damaged")
    broken = bytearray(png)
    start = png.index(b"IDAT") + 20
    broken[start : start + 60] = bytes(60)
    maker.broken("lake/broken.png", bytes(broken), "is damaged")
    tiff = encoded(big, "TIFF", exif=maker.block())
    maker.broken("lake/cut.tif", tiff[: len(tiff) * 3 // 4], "is damaged")
    decimal = Image.fromarray(np.ones((8, 8), dtype=np.float32))
    content = encoded(decimal, "TIFF", exif=maker.block())
    maker.broken("lake/decimal.tif", content, "has decimal numbers")
