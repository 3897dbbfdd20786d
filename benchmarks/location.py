"""Speed, memory and accuracy of the location encoders.

python benchmarks/location.py             prints rows and writes benchmarks/location.json
python benchmarks/location.py harmonics   does one section again

Baselines are written out here from their formulas: positions in float64 numpy, a batch at a time
through the same network, as the released code of Space2Vec and CSP does it; and spherical harmonics
one (l, m) at a time in torch. ``sphericart-torch`` is compared if it is installed.
"""

import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
from timing import machine, paired, ratio
from torch import Tensor

import geocsp
from geocsp.coords import sample_sphere, unit_vectors

BATCHES = (1, 64, 1024, 65_536, 1_000_000)
SETTINGS = {
    "space2vec-grid": {"frequencies": 32, "min_radius": 0.1, "legacy_output": True},
    "space2vec-theory": {"frequencies": 64, "min_radius": 1e-4, "legacy_output": True},
    "sphere2vec-spherec": {"frequencies": 64, "min_radius": 1e-3, "legacy_output": True},
    "sphere2vec-spherem": {"frequencies": 64, "min_radius": 1e-3, "legacy_output": True},
}


@torch.inference_mode()
def main() -> None:
    if "--memory" in sys.argv:
        print(json.dumps(memory(*sys.argv[2:])))
        return
    sections = {
        "encoders": encoder_rows,
        "memory": memory_rows,
        "harmonics": harmonics_rows,
        "accuracy": accuracy_rows,
    }
    path = Path(__file__).with_suffix(".json")
    report = json.loads(path.read_text()) if path.exists() else {}
    report["machine"] = machine()
    for name in sys.argv[1:] or sections:
        report[name] = list(sections[name]())
        path.write_text(json.dumps(report, indent=1))


def shown(row: dict) -> dict:
    print(", ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items()))
    return row


def encoder_rows() -> Iterator[dict]:
    for name in SETTINGS:
        yield from rows_of(name)


def rows_of(name: str) -> Iterator[dict]:
    torch.manual_seed(0)
    full = geocsp.create("location", name, dim=256, hidden=512, **SETTINGS[name]).eval()
    half = deepcopy(full).bfloat16()
    positions = POSITIONS[name]
    radii = full.radii.numpy()
    for count in BATCHES if name.startswith("space2vec") else BATCHES[:-1]:
        lonlat = sample_sphere(count, torch.Generator().manual_seed(0))

        def research(lonlat: Tensor = lonlat) -> Tensor:
            return full.network(torch.from_numpy(positions(lonlat, radii)).float())

        features = full.features(lonlat[:4096].double())

        def network(rows: Tensor = features, times: int = math.ceil(count / 4096)) -> None:
            for _ in range(times):
                full.network(rows)

        seconds = paired(
            research,
            lambda x=lonlat: full.embed(x),
            lambda x=lonlat: half.embed(x),
            network,
            lambda x=lonlat: positions(x, radii),
            lambda x=lonlat: [full.features(p.double()) for p in x.split(full.rows_per_pass)],
            rounds=30 if count < 5000 else 5 if count < 500_000 else 1,
        )
        gap = (research(lonlat[:1000]) - full.embed(lonlat[:1000])).abs().max()
        yield shown(
            {
                "encoder": name,
                "points": count,
                "numpy + network, us/point": 1e6 * statistics.median(seconds[0]) / count,
                "float32, us/point": 1e6 * statistics.median(seconds[1]) / count,
                "bfloat16, us/point": 1e6 * statistics.median(seconds[2]) / count,
                "network alone, us/point": 1e6 * statistics.median(seconds[3]) / count,
                "times as fast, float32": ratio(seconds[0], seconds[1]),
                "times as fast, bfloat16": ratio(seconds[0], seconds[2]),
                "positions alone, times as fast": ratio(seconds[4], seconds[5]),
                "largest difference": float(gap),
            }
        )


def numpy_grid(lonlat: Tensor, radii: np.ndarray) -> np.ndarray:
    coords = np.asarray(list(lonlat.numpy()[:, None])).astype(float)
    table = np.repeat(np.repeat(coords[..., None, None], len(radii), axis=3), 2, axis=4)
    table = table * np.stack([1 / radii, 1 / radii], axis=1)
    table[..., 0] = np.sin(table[..., 0])
    table[..., 1] = np.cos(table[..., 1])
    return table.reshape(len(coords), -1)


def numpy_theory(lonlat: Tensor, radii: np.ndarray) -> np.ndarray:
    coords = np.asarray(list(lonlat.numpy()[:, None])).astype(float)
    root = math.sqrt(3) / 2
    along = [np.matmul(coords, np.array(u)) for u in ((1, 0), (-0.5, root), (-0.5, -root))]
    angle = np.stack([a for a in along for _ in range(2)], axis=-1)[:, :, None]
    table = np.repeat(angle, len(radii), axis=2) * (1 / radii)[:, None]
    table[..., 0::2] = np.sin(table[..., 0::2])
    table[..., 1::2] = np.cos(table[..., 1::2])
    return table.reshape(len(coords), -1)


def numpy_waves(lonlat: Tensor, radii: np.ndarray) -> tuple[np.ndarray, ...]:
    coords = np.asarray(list(lonlat.numpy()[:, None])).astype(float) * math.pi / 180
    scaled = np.repeat(coords[..., None], len(radii), axis=3) / radii
    lon, lat = scaled[:, 0, 0], scaled[:, 0, 1]
    return np.sin(lon), np.cos(lon), np.sin(lat), np.cos(lat)


def numpy_spherec(lonlat: Tensor, radii: np.ndarray) -> np.ndarray:
    sin_lon, cos_lon, sin_lat, cos_lat = numpy_waves(lonlat, radii)
    columns = [sin_lat, cos_lat * cos_lon, cos_lat * sin_lon]
    return np.stack(columns, axis=-1).reshape(len(lonlat), -1)


def numpy_spherem(lonlat: Tensor, radii: np.ndarray) -> np.ndarray:
    sin_i, cos_i, sin_lat_i, cos_lat_i = numpy_waves(lonlat, radii)
    sin_lon, cos_lon, _, cos_lat = numpy_waves(lonlat, np.ones(1))
    columns = [
        sin_lat_i,
        cos_lat_i * cos_lon,
        cos_lat * cos_i,
        cos_lat_i * sin_lon,
        cos_lat * sin_i,
    ]
    return np.stack(columns, axis=-1).reshape(len(lonlat), -1)


POSITIONS: dict[str, Callable[[Tensor, np.ndarray], np.ndarray]] = {
    "space2vec-grid": numpy_grid,
    "space2vec-theory": numpy_theory,
    "sphere2vec-spherec": numpy_spherec,
    "sphere2vec-spherem": numpy_spherem,
}


def memory_rows() -> Iterator[dict]:
    for name, points, kind in (
        ("space2vec-grid", 65_536, "float32"),
        ("space2vec-grid", 1_000_000, "float32"),
        ("space2vec-grid", 0.1, "float32"),
        ("space2vec-grid", 0.1, "bfloat16"),
        ("spherical-harmonics", 65_536, "float32"),
        ("spherical-harmonics", 1_000_000, "float32"),
    ):
        yield in_process(name, str(points), kind)


def in_process(name: str, points: str, kind: str) -> dict:
    """Memory is measured in a process of its own, where nothing ran before."""
    command = [sys.executable, __file__, "--memory", name, points, kind]
    return shown(json.loads(subprocess.run(command, capture_output=True, check=True).stdout))


def memory(name: str, points: str, kind: str) -> dict:
    """Peak beyond the places and the embeddings; ``points`` below 1 is a global grid in degrees."""
    settings = SETTINGS.get(name, {"degrees": 40})
    encoder = geocsp.create("location", name, dim=256, hidden=512, **settings).eval()
    encoder = encoder.to(getattr(torch, kind))
    if float(points) < 1:
        step = float(points)
        lon = torch.arange(-180 + step / 2, 180, step)
        lat = torch.arange(90 - step / 2, -90, -step)
        lonlat = torch.cartesian_prod(lon, lat)
    else:
        lonlat = sample_sphere(int(points))
    encoder.embed(lonlat[:10])
    before = resident("VmRSS")
    start = time.perf_counter()
    encoder.embed(lonlat)
    seconds = time.perf_counter() - start
    peak = resident("VmHWM")
    result = len(lonlat) * 256 * encoder.network.output.weight.element_size()
    return {
        "encoder": name,
        "precision": kind,
        "points": len(lonlat),
        "embeddings, MB": result / 1e6,
        "working memory, MB": (peak - before - result) / 1e6,
        "seconds": seconds,
    }


def resident(what: str) -> int:
    """Resident memory of this process now (VmRSS) or at most so far (VmHWM), bytes."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split(f"{what}:")[1].split()[0])


def harmonics_rows() -> Iterator[dict]:
    for degrees, count in ((10, 16_384), (20, 16_384), (40, 16_384), (64, 4096), (128, 2048)):
        encoder = geocsp.create("location", "spherical-harmonics", dim=8, degrees=degrees)
        lonlat = sample_sphere(count, torch.Generator().manual_seed(0)).double()
        points = unit_vectors(lonlat).float()
        functions = {
            "one call": lambda e=encoder, x=lonlat: e.features(x),
            "in passes": lambda e=encoder, x=lonlat: [
                e.features(part) for part in x.split(e.rows_per_pass)
            ],
        }
        few = lonlat[:256]
        (naive,) = paired(
            lambda d=degrees, x=few: one_by_one(d, x), rounds=2 if degrees < 64 else 1
        )
        theirs = sphericart(degrees)
        if theirs:
            functions["sphericart"] = lambda f=theirs, x=points: f(x)
            exact = points.double()
            functions["sphericart, float64 to float32"] = lambda f=theirs, x=exact: f(x).float()
            functions["sphericart, in passes"] = lambda f=theirs, x=points, e=encoder: [
                f(part) for part in x.split(e.rows_per_pass)
            ]
        seconds = dict(zip(functions, paired(*functions.values(), rounds=15), strict=True))
        row = {"degrees": degrees, "points": count}
        for name, times in seconds.items():
            row[f"{name}, us/point"] = 1e6 * statistics.median(times) / count
        each = statistics.median(naive) / len(few)
        row["one (l, m) at a time, us/point"] = 1e6 * each
        row["times as fast as one at a time"] = (
            each * count / statistics.median(seconds["one call"])
        )
        if theirs:
            row["times as fast as sphericart"] = ratio(seconds["sphericart"], seconds["one call"])
            row["the same in passes"] = ratio(
                seconds["sphericart, in passes"], seconds["in passes"]
            )
            row["times as fast as sphericart, float64 to float32"] = ratio(
                seconds["sphericart, float64 to float32"], seconds["one call"]
            )
        yield shown(row)


def one_by_one(degrees: int, lonlat: Tensor) -> Tensor:
    """Orthonormal real harmonics, each from its own closed form, as in the released code."""
    lon, lat = lonlat.deg2rad().unbind(1)
    z = lat.sin()
    columns = []
    for degree in range(degrees):
        for order in range(-degree, degree + 1):
            m = abs(order)
            value = (1 - z * z) ** (m / 2) * math.exp(
                math.lgamma(2 * m + 1) - m * math.log(2) - math.lgamma(m + 1)
            )
            before, current = torch.zeros_like(z), value
            for n in range(m + 1, degree + 1):
                following = ((2 * n - 1) * z * current - (n + m - 1) * before) / (n - m)
                before, current = current, following
            size = (2 * degree + 1) / (4 * math.pi)
            size *= math.exp(math.lgamma(degree - m + 1) - math.lgamma(degree + m + 1))
            around = (m * lon).sin() if order < 0 else (m * lon).cos()
            columns.append(math.sqrt(size * (1 if m == 0 else 2)) * current * around)
    return torch.stack(columns, dim=1)


def sphericart(degrees: int) -> Callable[[Tensor], Tensor] | None:
    try:
        from sphericart.torch import SphericalHarmonics
    except ImportError:
        return None
    return SphericalHarmonics(degrees - 1)


def accuracy_rows() -> Iterator[dict]:
    """Largest error of float32 harmonics against SciPy, and what is not finite."""
    from scipy.special import sph_harm_y

    belts = {"|lat| < 80": (0, 80), "80 to 89": (80, 89), "89 to the pole": (89, 90)}
    for degrees in (10, 20, 30, 40, 128):
        encoder = geocsp.create("location", "spherical-harmonics", dim=8, degrees=degrees)
        theirs = sphericart(degrees)
        for belt, (low, high) in belts.items():
            rng = np.random.default_rng(0)
            lat = rng.uniform(low, high, 200) * rng.choice([-1, 1], 200)
            lat[0] = high
            lonlat = torch.from_numpy(np.stack([rng.uniform(-180, 180, 200), lat], 1))
            lon, colatitude = np.deg2rad(lonlat[:, 0].numpy()), np.deg2rad(90 - lat)
            found = {"geocsp": encoder.features(lonlat)}
            if theirs:
                found["sphericart"] = theirs(unit_vectors(lonlat).float())
                found["sphericart, float64"] = theirs(unit_vectors(lonlat))
            row: dict[str, object] = {"degrees": degrees, "belt": belt}
            for name, values in found.items():
                row[f"{name}, not finite"] = int((~values.isfinite()).sum())
                worst = 0.0
                for degree in range(0, degrees, max(1, degrees // 16)):
                    for order in range(-degree, degree + 1, max(1, degree // 16)):
                        exact = sph_harm_y(degree, abs(order), colatitude, lon)
                        part = exact.imag if order < 0 else exact.real
                        part = part * (-1) ** order * (math.sqrt(2) if order else 1)
                        column = values[:, degree**2 + degree + order].double().numpy()
                        worst = max(worst, float(np.nanmax(np.abs(column - part), initial=0.0)))
                row[f"{name}, largest finite error"] = worst
            yield shown(row)


if __name__ == "__main__":
    main()
