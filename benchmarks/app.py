"""Speed of geocsp app as a browser meets it: a server process, asked over HTTP.

python benchmarks/app.py    prints a table and writes benchmarks/app.json

Cold is the first tile of all, right after the server started. New tiles were never asked for, so
they are computed; of the same tiles another class is only coloured; kept tiles come out of the
server's memory, as when the map moves back. Photos have 4000 x 3000 pixels and go through the
network at 224.
"""

import io
import json
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
import numpy as np
import torch
from PIL import Image
from timing import machine

import geocsp
from geocsp.classifier import GeoClassifier
from geocsp.coords import sample_sphere
from geocsp.model import GeoModel
from geocsp.presets import BEST
from geocsp.train.finetune import train_image_head
from geocsp.train.linear import LinearSettings, fit_linear_prior

CLASSES = 20
ENCODERS = ("best", "space2vec-grid", "wrap")
ZOOMS = ((0, 2), (3, 5), (6, 8), (9, 12))
TILES = 12


def classifier(name: str) -> GeoClassifier:
    """A classifier with the preset's location encoder, or one of default size, untrained."""
    torch.manual_seed(0)
    made = BEST.build_location(0) if name == "best" else geocsp.create("location", name)
    location = made.eval()
    image = geocsp.create("image", "efficientnet-lite0", pixels=224)
    model = GeoModel(location, image.dim, image=image).eval()
    lonlat = sample_sphere(5000, torch.Generator().manual_seed(0))
    patches = (lonlat / 15).floor().long()
    labels = (patches[:, 0] * 7 + patches[:, 1] * 3) % CLASSES
    names = [f"class {number}" for number in range(CLASSES)]
    prior = fit_linear_prior(location, lonlat, labels, names, LinearSettings())
    features = torch.randn(200, image.dim, generator=torch.Generator().manual_seed(1))
    head = train_image_head(features, torch.arange(200) % CLASSES, CLASSES)
    return GeoClassifier(model, prior, head).eval()


def photo() -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).resize((4000, 3000)).save(stream, "JPEG")
    return stream.getvalue()


def milliseconds(client: httpx.Client, addresses: list[str]) -> list[float]:
    times = []
    for address in addresses:
        start = time.perf_counter()
        client.get(address).raise_for_status()
        times.append(1000 * (time.perf_counter() - start))
    return times


def row(what: str, times: list[float]) -> dict[str, object]:
    p50, p99 = np.percentile(times, [50, 99])
    print(f"  {what:<34} p50 {p50:8.1f} ms   p99 {p99:8.1f} ms   of {len(times)}", flush=True)
    return {"what": what, "p50 ms": round(p50, 2), "p99 ms": round(p99, 2), "count": len(times)}


def tiles(low: int, high: int, draw: random.Random) -> list[str]:
    """Addresses of different tiles between the latitudes where most land is."""
    found: dict[str, None] = {}
    while len(found) < min(TILES, 4**high):
        zoom = draw.randint(low, high)
        x, y = draw.randrange(2**zoom), int((0.25 + 0.4 * draw.random()) * 2**zoom)
        found[f"/api/tiles/class/{zoom}/{x}/{y}.png?class=class%20{1 + draw.randrange(6)}"] = None
    return list(found)


def others_of(addresses: list[str]) -> list[str]:
    """Three other classes of the same tiles."""
    starts = [address.rpartition("%20")[0] for address in addresses]
    return [f"{start}%20{number}" for start in starts for number in (CLASSES - 1, 0, 7)]


def asked(url: str, started: float) -> list[dict[str, object]]:
    draw = random.Random(0)
    with httpx.Client(base_url=url, timeout=120) as client:
        rows = [row("ready after the start", [1000 * started])]
        rows.append(row("first byte of /", milliseconds(client, ["/"] * 50)))
        cold = milliseconds(client, ["/api/tiles/class/1/1/0.png?class=class%200"])
        rows.append(row("cold tile", cold))
        for low, high in ZOOMS:
            some = tiles(low, high, draw)
            rows.append(row(f"new tile, zoom {low} to {high}", milliseconds(client, some)))
            rows.append(row("  another class of it", milliseconds(client, others_of(some))))
        rows.append(row("kept tile", milliseconds(client, some * 5)))
        where = [(draw.uniform(-180, 180), draw.uniform(-60, 75)) for _ in range(100)]
        for route in ("place", "similar"):
            addresses = [f"/api/{route}?lon={lon}&lat={lat}" for lon, lat in where]
            rows.append(row(route, milliseconds(client, addresses)))
        rows.append(row("land, packed", milliseconds(client, ["/api/land?detail=low"] * 20)))
        rows.append(row("photo of 12 megapixels", photos(client)))
    return rows


def photos(client: httpx.Client, count: int = 12) -> list[float]:
    content, times = photo(), []
    for _ in range(count):
        start = time.perf_counter()
        client.post("/api/photos", files={"photo": ("p.jpg", content)}).raise_for_status()
        times.append(1000 * (time.perf_counter() - start))
    return times[1:]


def measured(name: str, folder: Path) -> list[dict[str, object]]:
    classifier(name).save_pretrained(folder)
    call = [sys.executable, "-m", "geocsp", "app", str(folder), "--no-open", "--port", "0"]
    start = time.perf_counter()
    with subprocess.Popen(call, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            url = server.stdout.readline().split(" at ")[1].split(" ")[0]
            return asked(url, time.perf_counter() - start)
        finally:
            server.send_signal(signal.SIGINT)


def main() -> None:
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in ENCODERS:
            print(name)
            rows[name] = measured(name, Path(folder) / name)
    new = [r["p50 ms"] for found in rows.values() for r in found if "new tile" in str(r["what"])]
    print(f"median of new tiles over zooms and encoders: {statistics.median(new):.0f} ms")
    result = {"machine": machine(), "classes": CLASSES, "encoders": rows}
    Path(__file__).with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
