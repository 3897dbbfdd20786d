"""Speed and memory of pre-training, CSP-MC-BLD as the paper states it.

python benchmarks/train.py                       all sections; writes benchmarks/train.json
python benchmarks/train.py epochs --share 0.1    one section on a share of the images

epochs     whole epochs against the research recipe (research.py) and against the matrix products
           of the same shapes alone
processes  two processes with a core each against one process with one core
caching    a batch of 65,536 by gradient caching, features on disk, in a process of its own
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from data import peak_gigabytes, shown
from research import Research, train_epoch
from timing import machine, ratio
from torch import Tensor, distributed

import geocsp
from geocsp.coords import sample_sphere, unit_vectors
from geocsp.data.cache import FeatureCache
from geocsp.train.feeds import DiskFeed
from geocsp.train.pretrain import pretrain
from geocsp.train.settings import Precision, PretrainSettings

ROWS = 200_000
FEATURES = 2048
DIM = 256
HIDDEN = 512
FREQUENCIES = 32
RATE = 2e-4
ROUNDS = 3
BATCHES = (1024, 8192)
LARGE_BATCH = 65_536
WORKERS = ("research", "float32", "bfloat16", "products float32", "products bfloat16")


def main() -> None:
    sections: dict[str, Callable[[float], Iterator[dict]]] = {
        "epochs": epoch_rows,
        "processes": process_rows,
        "caching": caching_rows,
    }
    parser = argparse.ArgumentParser()
    parser.add_argument("sections", nargs="*", default=list(sections))
    parser.add_argument("--share", type=float, default=1.0, help="of the images")
    given = parser.parse_args()
    path = Path(__file__).with_suffix(".json")
    report = json.loads(path.read_text()) if path.exists() else {}
    for name in given.sections:
        rows = [shown(row) for row in sections[name](given.share)]
        report |= {"machine": machine(), name: rows}
        path.write_text(json.dumps(report, indent=1))


def made_data(rows: int) -> tuple[Tensor, Tensor]:
    """Features that tell something about their places, and the places."""
    generator = torch.Generator().manual_seed(0)
    lonlat = sample_sphere(rows, generator)
    waves = torch.randn(3, 64, generator=generator) * 4
    mixing = torch.randn(64, FEATURES, generator=generator) / 8
    features = torch.empty(rows, FEATURES)
    for place, some in zip(lonlat.split(10_000), features.split(10_000), strict=True):
        torch.mm((unit_vectors(place) @ waves).sin(), mixing, out=some)
        some += torch.randn(some.shape, generator=generator) / 2
        some.relu_()
    return features, lonlat


def made_model() -> geocsp.GeoModel:
    torch.manual_seed(0)
    encoder = geocsp.create(
        "location",
        "space2vec-grid",
        dim=DIM,
        frequencies=FREQUENCIES,
        min_radius=0.01,
        max_radius=360.0,
        hidden=HIDDEN,
        legacy_output=True,
    )
    return geocsp.GeoModel(encoder, FEATURES)


def train(
    model: geocsp.GeoModel, features: object, lonlat: Tensor, seed: int, **settings: object
) -> float:
    """One epoch; its mean loss."""
    chosen = PretrainSettings(epochs=1, learning_rate=RATE, **settings)
    objective = geocsp.create("objective", "csp-mc")
    return pretrain(model, objective, features, lonlat, chosen, seed=seed)[0]["loss"]


def epoch_rows(share: float) -> Iterator[dict]:
    """Whole epochs in turns, each in a process of its own that stays."""
    for size in BATCHES:
        workers = {name: begin("serve", name, size, share) for name in WORKERS}
        found: dict[str, list[dict]] = {name: [] for name in workers}
        for number in range(ROUNDS + 1):
            for name, worker in workers.items():
                result = ask(worker)
                if number:  # the first is to warm up
                    found[name].append(result)
        for worker in workers.values():
            worker.communicate()
        yield epoch_row(size, int(ROWS * share), found)


def epoch_row(size: int, rows: int, found: dict[str, list[dict]]) -> dict:
    seconds = {name: [result["seconds"] for result in results] for name, results in found.items()}
    work = rows // size * step_gigaflop(size)
    row = {
        "what": f"an epoch of {rows:,} x {FEATURES:,}, batch {size:,}",
        "research recipe, s": statistics.median(seconds["research"]),
    }
    for name in ("float32", "bfloat16"):
        taken, alone = seconds[name], seconds[f"products {name}"]
        row |= {
            f"{name}, s": statistics.median(taken),
            f"{name}, times as fast": ratio(seconds["research"], taken),
            f"{name}, GFLOP/s": work / statistics.median(taken),
            f"{name}, products alone, GFLOP/s": work / statistics.median(alone),
            f"{name}, share of products alone": ratio(alone, taken),
        }
        for measure in ("mean loss", "loss afterwards"):
            mine, theirs = (
                statistics.mean(result[measure] for result in found[which])
                for which in (name, "research")
            )
            row[f"{name}, {measure}, against research recipe"] = mine / theirs
    return row


def serve(name: str, size: str, share: str) -> Iterator[dict]:
    """Answer every line of the input with the time, and the losses, of one epoch."""
    batch, rows = int(size), int(ROWS * float(share))
    run = runner(name, batch, rows)
    print(flush=True)  # ready
    for seed, _ in enumerate(sys.stdin):
        start = time.perf_counter()
        losses = run(seed)
        yield {"seconds": time.perf_counter() - start} | losses()


def runner(name: str, batch: int, rows: int) -> Callable[[int], Callable[[], dict]]:
    """What trains for an epoch, given a seed; what it returns tells the losses, untimed."""
    kind, _, precision = name.rpartition(" ")
    if kind == "products":
        run = products(batch, rows // batch, getattr(torch, precision))
        return lambda seed: run() or dict
    features, lonlat = made_data(rows)

    def research(seed: int) -> Callable[[], dict]:
        model = Research(made_model(), seed)
        loss = train_epoch(model, features, lonlat, batch, RATE, seed)
        return lambda: losses(loss, model.encode, model.project, features, lonlat)

    def ours(seed: int) -> Callable[[], dict]:
        model = made_model()
        settings = {"batch_size": batch, "precision": Precision(name)}
        loss = train(model, features, lonlat, seed, **settings)
        return lambda: losses(loss, model.encode_location, model.embed_images, features, lonlat)

    return research if name == "research" else ours


@torch.no_grad()
def losses(
    mean: float,
    encode: Callable[[Tensor], Tensor],
    project: Callable[[Tensor], Tensor],
    features: Tensor,
    lonlat: Tensor,
) -> dict:
    """The mean loss of the epoch, and then that of places that pick images, without dropout."""
    location, image = encode(lonlat[:1024]), project(features[:1024])
    loss = torch.nn.functional.cross_entropy(location @ image.T, torch.arange(1024))
    return {"mean loss": mean, "loss afterwards": loss.item()}


def shapes(size: int) -> list[tuple[int, int, int]]:
    """All matrix products of a step, forward and backward: rows, inner size, columns."""
    places, positions = 3 * size, 4 * FREQUENCIES
    layers = [
        (size, FEATURES, DIM),
        (FEATURES, size, DIM),
        (places, positions, HIDDEN),
        (positions, places, HIDDEN),
        (places, HIDDEN, DIM),
        (places, DIM, HIDDEN),
        (HIDDEN, places, DIM),
    ]
    pairs = [(size, DIM, size), (size, size, DIM), (size, size, DIM)]
    return layers + 2 * pairs


def step_gigaflop(size: int) -> float:
    return sum(2 * rows * inner * columns for rows, inner, columns in shapes(size)) / 1e9


def products(size: int, steps: int, dtype: torch.dtype) -> Callable[[], None]:
    """The matrix products of so many steps and nothing else, into memory that is there."""
    factors = {
        (a, b, c): (
            torch.randn(a, b).to(dtype),
            torch.randn(b, c).to(dtype),
            torch.empty(a, c, dtype=dtype),
        )
        for a, b, c in set(shapes(size))
    }

    def run() -> None:
        for shape in shapes(size) * steps:
            left, right, into = factors[shape]
            torch.mm(left, right, out=into)

    return run


def process_rows(share: float) -> Iterator[dict]:
    """Two processes pinned to a core each, and one pinned to one core, in turns."""
    for size in BATCHES:
        for precision in Precision.FLOAT32, Precision.BFLOAT16:
            times: dict[int, list[float]] = {1: [], 2: []}
            losses: dict[int, float] = {}
            for _ in range(ROUNDS):
                for world, seconds in times.items():
                    found = together(world, size, precision, share)
                    seconds.append(found["seconds"])
                    losses[world] = found["loss"]
            yield {
                "what": f"{int(ROWS / 4 * share):,} images, batch {size:,}, {precision}",
                "one process on one core, s": statistics.median(times[1]),
                "two processes on a core each, s": statistics.median(times[2]),
                "times as fast": ratio(times[1], times[2]),
                "loss of two against one": losses[2] / losses[1],
            }


def together(world: int, size: int, precision: Precision, share: float) -> dict:
    """Pre-train in so many processes, each on a core of its own."""
    with tempfile.TemporaryDirectory() as folder:
        meeting = f"file://{folder}/meeting"
        running = [
            begin("member", rank, world, meeting, size, precision, share, core=rank)
            for rank in range(world)
        ]
        answers = [answer(process) for process in running]
        return answers[0]


def member(rank: str, world: str, meeting: str, size: str, precision: str, share: str) -> dict:
    if int(world) > 1:
        distributed.init_process_group(
            "gloo", init_method=meeting, rank=int(rank), world_size=int(world)
        )
    features, lonlat = made_data(int(ROWS / 4 * float(share)))
    settings = {"batch_size": int(size), "precision": Precision(precision)}
    warm = 2 * int(size)
    train(made_model(), features[:warm], lonlat[:warm], 0, **settings)
    start = time.perf_counter()
    loss = train(made_model(), features, lonlat, 0, **settings)
    return {"seconds": time.perf_counter() - start, "loss": loss}


def caching_rows(share: float) -> Iterator[dict]:
    """One step with a large batch off the disk, in a process of its own."""
    size = int(LARGE_BATCH * share)
    with tempfile.TemporaryDirectory() as folder:
        cache = FeatureCache(Path(folder), size, FEATURES)
        cache.describe()
        features, lonlat = made_data(size)
        for shard in range(cache.shards):
            span = cache.span(shard)
            cache.write(shard, features[span.start : span.stop])
        torch.save(lonlat, Path(folder) / "lonlat.pt")
        for precision in Precision.FLOAT32, Precision.BFLOAT16:
            for rows in (4096, 0):
                found = answer(begin("step", folder, size, rows, precision))
                how = f"{rows:,} rows at a time" if rows else "in one pass"
                yield {"what": f"a step of {size:,} images, {precision}, {how}", **found}


def step(folder: str, size: str, rows: str, precision: str) -> dict:
    lonlat = torch.load(Path(folder) / "lonlat.pt")
    cache = FeatureCache.open(Path(folder))
    settings = {"micro_batch": int(rows) or None, "precision": Precision(precision)}
    start = time.perf_counter()
    loss = train(made_model(), DiskFeed(cache), lonlat, 0, batch_size=int(size), **settings)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "loss": loss, "peak memory, GB": peak_gigabytes()}


def begin(function: str, *arguments: object, core: int | None = None) -> subprocess.Popen:
    """Call a function of this file in a new process, on one core or on all."""
    pinned = ["taskset", "-c", str(core)] if core is not None else []
    threads = {"OMP_NUM_THREADS": "1"} if core is not None else {}
    command = [*pinned, sys.executable, __file__, "--call", function, *map(str, arguments)]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | threads,
    )
    if function == "serve":
        process.stdout.readline()  # ready
    return process


def ask(process: subprocess.Popen) -> dict:
    """The next result of a process that serves."""
    process.stdin.write("\n")
    process.stdin.flush()
    return json.loads(process.stdout.readline())


def answer(process: subprocess.Popen) -> dict:
    """The only result of a process."""
    output, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"{process.args} failed")
    return json.loads(output)


def called(function: str, *arguments: str) -> None:
    """What a new process does."""
    if function == "serve":
        for result in serve(*arguments):
            print(json.dumps(result), flush=True)
    else:
        print(json.dumps({"member": member, "step": step}[function](*arguments)))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--call"]:
        called(*sys.argv[2:])
    else:
        main()
