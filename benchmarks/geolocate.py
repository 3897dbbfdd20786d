"""Where was this taken? Speed of the search, and what indexes and 16-bit numbers would miss.

python benchmarks/geolocate.py            one million places: prints rows, writes geolocate.json
python benchmarks/geolocate.py 10.1       another spacing in km: five million places

The model is trained for a minute on tiles of NASA's Blue Marble; the queries are tiles that it has
not seen. Seconds are the least of a few calls, of the clock and of the processor; on a machine that
is shared, those of the clock say little.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from PIL.ExifTags import GPS, IFD
from timing import machine

import geocsp
from geocsp.data.named.bluemarble import bluemarble
from geocsp.evaluate.geolocation import Guesses, best_places, geolocate_grid
from geocsp.geolocate import Gallery, Index
from geocsp.model import GeoModel
from geocsp.presets import BEST

POINTS, QUERIES, ROUNDS, COUNT = 4000, 200, 3, 10
PARITY = 50


class Seconds(NamedTuple):
    """How long something takes."""

    clock: float
    processor: float


def main() -> None:
    spacing = float(sys.argv[1]) if len(sys.argv) > 1 else 22.5
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["GEOCSP_CACHE"] = f"{scratch}/cache"
        model, queries, photo = trained(Path(scratch))
        facts = measured(model, queries, photo, spacing, Path(scratch))
    path = Path(__file__).with_suffix(".json")
    known = json.loads(path.read_text()) if path.exists() else {}
    text = json.dumps(known | {f"{spacing:g} km": facts | {"machine": machine()}}, indent=1)
    path.write_text(text + "\n")


def trained(folder: Path) -> tuple[GeoModel, torch.Tensor, Path]:
    """A model as a folder "model" with its image encoder, queries, and a photo."""
    image = geocsp.create("image", "efficientnet-lite0", pixels=64)
    data = bluemarble(points=POINTS)
    features = geocsp.extract(image, data)
    lonlat = torch.from_numpy(data.lonlat).float()
    order = torch.randperm(len(lonlat), generator=torch.Generator().manual_seed(0))
    train, held = order[:-QUERIES], order[-QUERIES:]
    model = BEST.build_model(features.shape[1], seed=0)
    model.standardise_by(features[train])
    objective = BEST.build_objective(0)
    geocsp.pretrain(model, objective, features[train], lonlat[train], BEST.pretrain, seed=0)
    model = model.eval().with_image(image)
    model.save_pretrained(folder / "model")
    exif = Image.Exif()
    lon, lat = data.lonlat[held[0]]
    exif[IFD.GPSInfo] = {
        GPS.GPSLongitudeRef: "EW"[int(lon < 0)],
        GPS.GPSLongitude: (abs(lon), 0.0, 0.0),
        GPS.GPSLatitudeRef: "NS"[int(lat < 0)],
        GPS.GPSLatitude: (abs(lat), 0.0, 0.0),
    }
    photo = folder / "photo.png"
    Image.fromarray(data.images(np.array([int(held[0])]))[0]).save(photo, exif=exif)
    return model, model.embed_images(features[held]), photo


def measured(
    model: GeoModel, queries: torch.Tensor, photo: Path, spacing: float, folder: Path
) -> dict[str, object]:
    facts: dict[str, object] = {}

    def tell(name: str, value: object) -> None:
        value = round(value, 5) if isinstance(value, float) else value
        facts[name] = value._asdict() if isinstance(value, Seconds) else value
        print(f"{name:44} {facts[name]}", flush=True)

    start = time.perf_counter()
    gallery = Gallery.grid(model, spacing)
    tell("seconds to embed the places", time.perf_counter() - start)
    tell("places", len(gallery))
    tell("size of an embedding", gallery.store.dim)
    tell("seconds to open the gallery again", seconds(lambda: Gallery.grid(model, spacing)))
    one = queries[:1]
    tell("seconds of a search", seconds(lambda: gallery.search(one, COUNT)))
    apart = seconds(lambda: gallery.search(one, COUNT, apart_km=500))
    tell("seconds of a search, answers 500 km apart", apart)
    exact = gallery.search(queries, COUNT)
    some = geolocate_grid(model, queries_as_features(model, queries[:PARITY]), spacing, COUNT)
    tell("answers as geolocate_grid has them", same(some, first(exact, PARITY)))
    for name, value in half(gallery, queries, exact).items():
        tell(name, value)
    for options, name in (((), "with the map"), (("--no-maps",), "without the map")):
        tell(f"seconds of the second command, {name}", command(photo, folder, spacing, *options))
    tell("seconds of import geocsp alone", run(sys.executable, "-c", "import geocsp"))
    for kind in (Index.FAISS, Index.LANCEDB):
        start = time.perf_counter()
        searched = kind.over(gallery)
        tell(f"{kind}: seconds to build", time.perf_counter() - start)
        tell(f"{kind}: seconds of a search", seconds(lambda to=searched: to.search(one, COUNT)))
        found = searched.search(queries, COUNT)
        tell(f"{kind}: recall of the first", recall(first_of_each(found), first_of_each(exact)))
        tell(f"{kind}: recall of {COUNT}", recall(found, exact))
        ratio = found.probabilities.sum(1) / exact.probabilities.sum(1)
        tell(f"{kind}: probability of {COUNT} over exact, median", float(ratio.median()))
        tell(f"{kind}: furthest from 1", float((ratio - 1).abs().max()))
    return facts


def queries_as_features(model: GeoModel, queries: torch.Tensor) -> torch.Tensor:
    """Features whose image embeddings are the queries, so that the evaluation can be called."""
    model.embed_images = lambda images: images  # type: ignore[method-assign]
    return queries


def half(gallery: Gallery, queries: torch.Tensor, exact: Guesses) -> dict[str, object]:
    """What a cache of float16 would change."""
    parts = [part.half().float() for part in gallery.store.parts]
    scores, rows, total = best_places(queries, parts, COUNT, gallery.scale)
    shares = (gallery.scale * scores.double() - total[:, None]).exp()
    lonlat = gallery.lonlat[rows]
    return {
        "float16: answers that stay": float((lonlat == exact.lonlat).all(-1).double().mean()),
        "float16: largest change of a probability, %": 100
        * float((shares / exact.probabilities - 1).abs().max()),
    }


def same(a: Guesses, b: Guesses) -> bool:
    close = torch.allclose(a.probabilities, b.probabilities, rtol=1e-5, atol=0)
    return torch.equal(a.lonlat, b.lonlat) and torch.equal(a.scores, b.scores) and close


def first(found: Guesses, images: int) -> Guesses:
    return Guesses(found.lonlat[:images], found.scores[:images], found.probabilities[:images])


def first_of_each(found: Guesses) -> Guesses:
    return Guesses(found.lonlat[:, :1], found.scores[:, :1], found.probabilities[:, :1])


def recall(found: Guesses, exact: Guesses) -> float:
    same_place = (found.lonlat[:, :, None] == exact.lonlat[:, None]).all(-1)
    return float(same_place.any(1).double().mean())


def command(photo: Path, folder: Path, spacing: float, *options: str) -> Seconds:
    return run(
        *(sys.executable, "-m", "geocsp", "geolocate", str(photo), "-m", str(folder / "model")),
        *("--grid", str(spacing), "-o", str(folder / "out"), "--json", *options),
    )


def run(*arguments: str) -> Seconds:
    return seconds(lambda: subprocess.run(arguments, check=True, stdout=subprocess.DEVNULL))


def seconds(call: Callable[[], object]) -> Seconds:
    """Least of some calls after the first: of the clock, and of the processor."""
    call()
    wall, processor = [], []
    for _ in range(ROUNDS):
        start, before = time.perf_counter(), sum(os.times()[:4])
        call()
        wall.append(time.perf_counter() - start)
        processor.append(sum(os.times()[:4]) - before)
    return Seconds(round(min(wall), 4), round(min(processor), 4))


if __name__ == "__main__":
    main()
