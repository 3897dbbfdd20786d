"""Speed and memory of reading: extraction, training batches, large tables.

python benchmarks/data.py             prints rows and writes benchmarks/data.json
python benchmarks/data.py batches     does one section again

The loader that batches are compared with is the research code's way, written out here from its
description: features in memory, one Python call a sample, PyTorch's DataLoader to collate them.
"""

import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import torch
from PIL import Image
from timing import machine, paired, ratio
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

import geocsp
from geocsp.data.assemble import assemble
from geocsp.data.batches import feature_batches
from geocsp.data.cache import FeatureCache
from geocsp.data.images import FileImages
from geocsp.data.named.rasters import BLUE_MARBLE
from geocsp.images import EfficientNetLite0
from geocsp.images.extract import BATCH, features_of, has_bfloat16
from geocsp.images.features import compute_features
from geocsp.images.table_source import TableImages
from geocsp.objectives import NegativeSampling
from geocsp.train.pretrain import PretrainSettings, pretrain

PHOTOS = 768
PHOTO_SIZE = (1024, 768)
ROWS = 200_000
DIM = 2048
TABLE_ROWS = 10_000_000


def main() -> None:
    if "--open" in sys.argv:
        print(json.dumps(opened(sys.argv[2])))
        return
    sections: dict[str, Callable[[Path], Iterator[dict]]] = {
        "extraction": extraction_rows,
        "batches": batch_rows,
        "tables": table_rows,
    }
    path = Path(__file__).with_suffix(".json")
    report = json.loads(path.read_text()) if path.exists() else {}
    report["machine"] = machine()
    for name in sys.argv[1:] or sections:
        with tempfile.TemporaryDirectory() as folder:
            report[name] = [shown(row) for row in sections[name](Path(folder))]
        path.write_text(json.dumps(report, indent=1))


def shown(row: dict) -> dict:
    print(", ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items()))
    return row


def extraction_rows(folder: Path) -> Iterator[dict]:
    """Extraction against decoding alone plus the encoder alone, each on all cores."""
    table, fast = photos(folder / "photos"), has_bfloat16()
    batches = np.split(np.arange(PHOTOS), range(BATCH, PHOTOS, BATCH))
    cores = torch.get_num_threads()
    for pixels in (224, 96):
        encoder = EfficientNetLite0(pixels=pixels)
        source = TableImages(table.images, "benchmark", encoder.framing)
        decoded = [source.load(rows).images for rows in batches]
        count = 0

        def decode(source: TableImages = source) -> None:
            with ThreadPoolExecutor(cores) as pool:
                list(pool.map(source.load, batches))

        def encode(encoder: EfficientNetLite0 = encoder, decoded: list = decoded) -> None:
            for images in decoded:
                features_of(encoder, images, bfloat16=fast)

        def whole(encoder: EfficientNetLite0 = encoder) -> None:
            nonlocal count
            count += 1
            compute_features(encoder, table, folder / f"{encoder.pixels}-{count}")

        decoding, encoding, extraction = paired(decode, encode, whole, rounds=3)
        both = [a + b for a, b in zip(decoding, encoding, strict=True)]
        yield {
            "what": f"{PHOTOS} JPEG photos of {PHOTO_SIZE[0]} x {PHOTO_SIZE[1]}, {pixels} px",
            "decoding alone, images/s": PHOTOS / statistics.median(decoding),
            "encoder alone, images/s": PHOTOS / statistics.median(encoding),
            "extraction, images/s": PHOTOS / statistics.median(extraction),
            "extraction / (decoding + encoder)": ratio(extraction, both),
        }


def photos(folder: Path) -> geocsp.GeoTable:
    """JPEG photos with the detail of real ones: pieces of the Blue Marble, enlarged, with noise."""
    folder.mkdir()
    world = BLUE_MARBLE.pixels()
    generator = np.random.default_rng(0)
    names = []
    for number in range(PHOTOS):
        row, column = (int(generator.integers(0, n - 256)) for n in world.shape[:2])
        piece = Image.fromarray(world[row : row + 192, column : column + 256])
        pixels = np.asarray(piece.resize(PHOTO_SIZE, Image.Resampling.BICUBIC), dtype=np.int16)
        noisy = pixels + generator.integers(-6, 7, pixels.shape, dtype=np.int16)
        names.append(f"{number}.jpg")
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / names[-1], quality=90)
    lonlat = np.stack([generator.uniform(-179, 179, PHOTOS), generator.uniform(-80, 80, PHOTOS)], 1)
    return assemble(FileImages(pa.chunked_array([names]), folder=str(folder)), lonlat)


class PerSample(Dataset):
    """One Python call a sample, as in the research code."""

    def __init__(self, features: Tensor) -> None:
        self.features = features.numpy()
        self.places = np.zeros((len(features), 2), dtype=np.float32)
        self.classes = np.zeros(len(features), dtype=np.int64)
        self.users = np.zeros(len(features), dtype=np.int64)

    def __len__(self) -> int:
        return len(self.features)

    def __getitem__(self, row: int) -> dict[str, object]:
        return {
            "loc_feat": torch.from_numpy(self.places[row]),
            "loc_class": torch.tensor(self.classes[row]),
            "user_ids": torch.tensor(self.users[row]),
            "cnn_features": torch.from_numpy(self.features[row]),
        }


def batch_rows(folder: Path) -> Iterator[dict]:
    """Batches off the disk cache against the research loader, and against training itself."""
    cache = FeatureCache(folder / "features", ROWS, DIM)
    generator = torch.Generator().manual_seed(0)
    cache.describe()
    for shard in range(cache.shards):
        cache.write(shard, torch.randn(len(cache.span(shard)), DIM, generator=generator))
    resident = cache[torch.arange(ROWS // 4)]
    theirs = PerSample(resident)
    lonlat = geocsp.coords.sample_sphere(len(resident), generator)
    for size in (1024, 8192):
        steps = len(resident) // size

        def research(size: int = size) -> None:
            for _ in DataLoader(theirs, batch_size=size, shuffle=True, drop_last=True):
                pass

        def ours(size: int = size, steps: int = steps) -> None:
            order = torch.randperm(ROWS)[: steps * size]
            for _ in feature_batches(cache, order.split(size)):
                pass

        def train(size: int = size) -> None:
            encoder = geocsp.create("location", "space2vec-grid", dim=256)
            model = geocsp.GeoModel(encoder, DIM)
            settings = PretrainSettings(
                epochs=1, batch_size=size, negatives=NegativeSampling.SPHERE
            )
            pretrain(
                model, geocsp.create("objective", "csp-mc"), resident, lonlat, settings, seed=0
            )

        loader, batches, training = paired(research, ours, train)
        samples = steps * size
        yield {
            "what": f"batches of {size:,} from {ROWS:,} x {DIM:,}",
            "research loader, samples/s": samples / statistics.median(loader),
            "feature_batches, samples/s": samples / statistics.median(batches),
            "pre-training (CSP-MC) on features in memory, samples/s": samples
            / statistics.median(training),
            "ratio to the research loader": ratio(loader, batches),
            "ratio to pre-training": ratio(training, batches),
        }


def table_rows(folder: Path) -> Iterator[dict]:
    """Opening ten million rows, each file in a process of its own."""
    generator = np.random.default_rng(0)
    table = pa.table(
        {
            "image": pa.array([f"photos/{n:010d}.jpg" for n in range(TABLE_ROWS)]),
            "longitude": generator.uniform(-180, 180, TABLE_ROWS),
            "latitude": generator.uniform(-90, 90, TABLE_ROWS),
            "species": pa.array(
                np.char.add("s", generator.integers(0, 5000, TABLE_ROWS).astype(str))
            ),
        }
    )
    pyarrow.csv.write_csv(table, folder / "table.csv")
    pyarrow.parquet.write_table(table, folder / "table.parquet")
    del table
    for name in ("table.csv", "table.parquet"):
        command = [sys.executable, __file__, "--open", str(folder / name)]
        answer = subprocess.run(command, capture_output=True, text=True, check=True)
        yield {"what": f"{TABLE_ROWS:,} rows, {name}", **json.loads(answer.stdout)}


def opened(path: str) -> dict:
    start = time.perf_counter()
    table = geocsp.read(path)
    return {
        "rows": len(table),
        "classes": len(table.class_names),
        "seconds": time.perf_counter() - start,
        "peak memory, GB": peak_gigabytes(),
    }


def peak_gigabytes() -> float:
    """Most memory this process had; what its parent had before does not count (Linux)."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) * 1024 / 1e9


if __name__ == "__main__":
    main()
