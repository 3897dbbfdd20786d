import asyncio
import base64
import io
import os
import socket
import tempfile
import zlib
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
import torch
from app_model import CLASSES, classifier, geo_model, photo_bytes
from app_server import SETTINGS, serving
from fastapi.testclient import TestClient
from PIL import Image

from geocsp.app.create import create_app
from geocsp.app.explorer import AppSettings, Explorer
from geocsp.app.mercator import NORTHERNMOST, lonlat_of
from geocsp.coords import great_circle_km
from geocsp.evaluate.geolocation import grid_places, probability_map
from geocsp.images.single import open_photo

NAMES = list(CLASSES)
DESERT = NAMES.index("desert")
PLACED = photo_bytes(DESERT, lonlat=(10.0, 25.0))
PLAIN = photo_bytes(DESERT)


@pytest.fixture(scope="module")
def api(app_url):
    with httpx.Client(base_url=app_url, timeout=120) as client:
        yield client


def send(api, content=PLACED, name="p.jpg", **fields):
    return api.post("/api/photos", files={"photo": (name, content)}, data=fields)


def line(response, code):
    assert response.status_code == code, response.text
    said = response.json()["detail"]
    assert "\n" not in said
    assert "Traceback" not in said
    return said


def pixels_of(content):
    return open_photo(content, classifier().model.image).pixels


def shares(entries):
    return {entry["name"]: entry["probability"] for entry in entries}


def test_a_photo_with_its_place(api):
    said = send(api).json()
    assert (said["name"], said["lon"], said["lat"]) == ("p.jpg", 10.0, 25.0)
    assert (said["placed_by"], said["notes"]) == ("exif", [])
    model = classifier()
    image = model.image_probabilities(pixels_of(PLACED))[0]
    place = torch.tensor([[10.0, 25.0]], dtype=torch.float64)
    fused = model.probabilities(pixels_of(PLACED), place)[0]
    for key, expected in (("image", image), ("fused", fused)):
        found = said[key]
        assert shares(found) == pytest.approx(
            dict(zip(NAMES, expected.tolist(), strict=True)), abs=2e-5
        )
        order = [entry["probability"] for entry in found]
        assert order == sorted(order, reverse=True)
    assert shares(said["fused"])["desert"] > shares(said["image"])["desert"]


def test_the_given_place_goes_first(api):
    said = send(api, lon="-60.5", lat="-3").json()
    assert (said["lon"], said["lat"], said["placed_by"]) == (-60.5, -3.0, "given")
    at = torch.tensor([[-60.5, -3.0]], dtype=torch.float64)
    expected = classifier().probabilities(pixels_of(PLACED), at)[0]
    assert shares(said["fused"])["rainforest"] == pytest.approx(
        float(expected[NAMES.index("rainforest")]), abs=2e-5
    )
    assert said["image"] == send(api).json()["image"]


def test_a_photo_without_a_place(api):
    said = send(api, PLAIN, lon="", lat="").json()
    assert [said[key] for key in ("lon", "lat", "placed_by", "fused")] == [None] * 4
    assert said["image"]
    assert said["where"]["places"]
    assert "no GPS coordinates" in said["notes"][0]


def test_where_a_photo_was_taken(api):
    where = send(api).json()["where"]
    lonlat = grid_places(SETTINGS.spacing_km)
    model = classifier().model
    probability = probability_map(model, pixels_of(PLACED), lonlat)[0].double()
    found = torch.tensor([[p["lon"], p["lat"]] for p in where["places"]], dtype=torch.float64)
    given = [p["probability"] for p in where["places"]]
    best = lonlat[int(probability.argmax())]
    assert float(great_circle_km(found, best[None]).min()) < 1
    assert given == sorted(given, reverse=True)
    assert 0 < sum(given) <= 1
    for row, place in enumerate(found):
        others = torch.cat([found[:row], found[row + 1 :]])
        assert float(great_circle_km(others, place[None]).min()) >= 499
        around = great_circle_km(lonlat, place[None]) < 500
        assert given[row] <= float(probability[around].sum()) + 1e-4
    first = great_circle_km(lonlat, found[:1]) < 500
    assert given[0] == pytest.approx(float(probability[first].sum()), abs=1e-4)

    assert where["bounds"] == pytest.approx([-180, -NORTHERNMOST, 180, NORTHERNMOST])
    kind, content = where["overlay"].split(",", 1)
    assert kind == "data:image/png;base64"
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))
    assert shown.shape == (512, 512, 4)
    generator = np.random.default_rng(0)
    rows, columns = generator.integers(0, 512, (2, 300))
    at = lonlat_of((columns + 0.5) / 512, (rows + 0.5) / 512)
    for row, column, place in zip(rows, columns, at, strict=True):
        nearest = int(great_circle_km(lonlat, place[None]).argmin())
        share = float(probability[nearest] / probability.max())
        alpha = 225 * min(share / 0.35, 1)
        assert abs(int(shown[row, column, 3]) - alpha) < 4


def test_photos_sent_at_once_are_answered_as_one_by_one(api):
    sent = [photo_bytes(n % 8, seed=n, lonlat=(n, 40.0)) for n in range(12)]
    alone = [send(api, content).content for content in sent]

    async def all_at_once():
        async with httpx.AsyncClient(base_url=api.base_url, timeout=120) as client:
            posts = [
                client.post("/api/photos", files={"photo": ("p.jpg", content)}) for content in sent
            ]
            return [answer.content for answer in await asyncio.gather(*posts)]

    assert asyncio.run(all_at_once()) == alone


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "GIF"])
def test_other_formats(api, kind):
    stream = io.BytesIO()
    Image.new("RGB", (50, 40), (200, 180, 100)).save(stream, kind)
    assert send(api, stream.getvalue()).json()["image"]


def test_a_model_without_classes():
    explorer = Explorer(geo_model(), "model", settings=AppSettings(spacing_km=1000.0))
    with TestClient(create_app(explorer), base_url="http://localhost") as client:
        said = send(client).json()
    assert (said["image"], said["fused"]) == (None, None)
    assert said["where"]["places"]
    assert said["placed_by"] == "exif"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\photos\\owl.jpg", "owl.jpg"),
        ("/abs/olute.jpg", "olute.jpg"),
        ("a" * 300, "a" * 200),
        ("..", ".."),
        ("grüße 🦉.jpg", "grüße 🦉.jpg"),
        ("a<b>&.jpg", "a<b>&.jpg"),
    ],
)
def test_names_are_only_shown(api, name, shown):
    assert send(api, name=name).json()["name"] == shown


def big_picture(width, height):
    """A small PNG file that unpacks to a huge picture."""

    def chunk(kind, content):
        body = kind + content
        return len(content).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")

    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([1, 0, 0, 0, 0])
    rows = zlib.compress(bytes(min((width // 8 + 1) * height, 10**7)), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"hello", "photo"),
        (b"<!doctype html><html></html>", "is a web page"),
        (b"%PDF-1.7", "PDF"),
        (b"PK\x03\x04zip", "zip"),
        (PLACED[:200], "the photo"),
        (b"\xff\xd8\xff\xe0" + os.urandom(500), "the photo"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "drawing"),
        (big_picture(30_000, 30_000), "pixels"),
        (big_picture(2_001, 2_000), "2001 x 2000 pixels, more than the 4,000,000 allowed"),
        (big_picture(2**31 - 1, 2**31 - 1), "the photo"),
        (b"%!PS-Adobe-3.0\n(run) =", "PostScript"),
    ],
)
def test_files_that_are_no_photos(api, content, said):
    assert said in line(send(api, content), 422)


def test_too_many_bytes(api):
    exact = PLAIN + bytes(SETTINGS.max_upload_bytes - len(PLAIN))
    assert send(api, exact).status_code == 200
    said = line(send(api, exact + b"x"), 413)
    assert said == "the photo is larger than 1 MB; --max-upload sets the limit"


def raw(url, *parts):
    """Send bytes and read until the server closes."""
    where = urlsplit(url)
    with socket.create_connection((where.hostname, where.port), timeout=20) as connection:
        for part in parts:
            connection.sendall(part)
        answer = b""
        while chunk := connection.recv(65_536):
            answer += chunk
    return answer


def head(url, *headers):
    where = urlsplit(url)
    kind = "Content-Type: multipart/form-data; boundary=b"
    lines = ("POST /api/photos HTTP/1.1", f"Host: {where.netloc}", kind, *headers, "", "")
    return "\r\n".join(lines).encode()


def test_a_huge_length_is_refused_before_anything_is_sent(app_url):
    answer = raw(app_url, head(app_url, "Content-Length: 10000000000"))
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"larger than 1 MB" in answer


def test_a_stream_without_a_length_is_cut_off(app_url):
    start = b'--b\r\nContent-Disposition: form-data; name="photo"; filename="p.jpg"\r\n\r\n'
    where = urlsplit(app_url)
    sent = 0
    with socket.create_connection((where.hostname, where.port), timeout=20) as connection:
        connection.sendall(head(app_url, "Transfer-Encoding: chunked"))
        connection.sendall(b"%x\r\n%s\r\n" % (len(start), start))
        part = bytes(65_536)
        try:
            while sent < 200 * 2**20:
                connection.sendall(b"%x\r\n%s\r\n" % (len(part), part))
                sent += len(part)
        except OSError:
            pass  # the server has closed
    assert sent < 30 * 2**20


@pytest.mark.parametrize(
    ("body", "kind", "said"),
    [
        (b"", "", "multipart/form-data"),
        (b"{}", "application/json", "multipart/form-data"),
        (b"a=b", "application/x-www-form-urlencoded", "multipart/form-data"),
        (b"", "multipart/form-data", "cannot be read"),
        (b"", "multipart/form-data; boundary=b", "no file"),
        (b"nonsense", "multipart/form-data; boundary=b", "cannot be read"),
        (b"--b\r\nX: y\r\n\r\nz\r\n--b--\r\n", "multipart/form-data; boundary=b", "cannot be read"),
        (
            b'--b\r\nContent-Disposition: form-data; name="photo"\r\n\r\nz\r\n--b--\r\n',
            "multipart/form-data; boundary=b",
            "no file",
        ),
        (
            b'--b\r\nContent-Disposition: form-data; name="photo"; filename="p"\r\n\r\nunfinished',
            "multipart/form-data; boundary=b",
            "",
        ),
        (b"--b\r\n" + b"H: " + b"x" * 50_000, "multipart/form-data; boundary=b", ""),
        (b"", "multipart/form-data; boundary=" + "b" * 5000, ""),
    ],
)
def test_forms_that_are_none(api, body, kind, said):
    answer = api.post("/api/photos", content=body, headers={"Content-Type": kind})
    assert said in line(answer, 422)


def test_other_fields(api):
    assert "'album'" in line(send(api, album="x"), 422)
    both = [("photo", ("a.jpg", PLAIN)), ("photo", ("b.jpg", PLAIN))]
    assert "Too many files" in line(api.post("/api/photos", files=both), 422)
    elsewhere = api.post("/api/photos", files={"picture": ("a.jpg", PLAIN)})
    assert "'picture'" in line(elsewhere, 422)
    long = send(api, lon="1" * 100_000, lat="2")
    assert "cannot be read" in line(long, 422)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"lon": "8"}, "two numbers"),
        ({"lat": "8"}, "two numbers"),
        ({"lon": "east", "lat": "3"}, "two numbers"),
        ({"lon": "nan", "lat": "3"}, "lon must be in"),
        ({"lon": "3", "lat": "inf"}, "lat in"),
        ({"lon": "200", "lat": "3"}, "lon must be in"),
        ({"lon": "3", "lat": "-91"}, "lat in"),
    ],
)
def test_places_that_are_none(api, fields, said):
    assert said in line(send(api, **fields), 422)


def test_a_photo_that_does_not_arrive():
    settings = AppSettings(spacing_km=1000.0, seconds=0.3)
    explorer = Explorer(geo_model(), "model", settings=settings)
    with serving(explorer) as url:
        begun = b'--b\r\nContent-Disposition: form-data; name="photo"; filename="p"\r\n\r\n'
        answer = raw(url, head(url, "Content-Length: 500"), begun)
    assert answer.startswith(b"HTTP/1.1 408")


def test_no_file_is_left(api, monkeypatch):
    noise = np.random.default_rng(0).integers(0, 256, (500, 600, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise).save(stream, "PNG", compress_level=0)
    assert 800_000 < len(stream.getvalue()) < SETTINGS.max_upload_bytes
    opened = []

    def refuse(*arguments, **settings):
        opened.append(arguments)
        raise OSError("no temporary file")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)  # the server is in this process
    monkeypatch.setattr(tempfile, "NamedTemporaryFile", refuse)
    monkeypatch.setattr(tempfile, "mkstemp", refuse)
    assert send(api, stream.getvalue()).status_code == 200
    assert send(api, stream.getvalue()[:-1000]).status_code in (200, 422)
    assert not opened
