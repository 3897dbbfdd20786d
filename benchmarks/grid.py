"""Speed, memory and size of embeddings of grids as files.

python benchmarks/grid.py             windows of three sizes, cells of 0.05 degrees, 256 bands
python benchmarks/grid.py --globe     the whole globe instead, numbers that cost nothing in place of
                                      the model's, which takes 20 minutes and 35 GB of disk

Every export runs in a process of its own, whose largest resident memory is read from the kernel;
before and after it, the model alone is timed on some of the same blocks. Times of a core are those
that the kernel counts for the process, which other work on the machine hardly changes.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from timing import machine

import geocsp
from geocsp.maps.export import CellType, ExportProgress, blocks, embed_grid
from geocsp.maps.grid import Grid

WINDOWS = ("-20,20,31.2,45.6", "-180,20,180,45.6", "-180,0,180,51.2")
GLOBE = "-180,-90,180,90"
OUTPUTS = [("out.tif", "float16"), ("out.tif", "int8"), ("out.zarr", "float16")]


class Ramp:
    """256 bands that cost nothing to compute."""

    title = "ramp"

    def of(self, lonlat: torch.Tensor) -> torch.Tensor:
        return (lonlat[:, :1].float() / 90).expand(-1, 256).contiguous()


def main() -> None:
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(one(*sys.argv[2:])))
        return
    path = Path(__file__).with_suffix(".json")
    report = json.loads(path.read_text()) if path.exists() else {}
    if "--globe" in sys.argv:
        report["globe"] = [measured(GLOBE, "out.tif", "float16", "ramp")]
    else:
        smallest, *others = WINDOWS
        jobs = [(smallest, *output) for output in OUTPUTS]
        jobs += [(window, *OUTPUTS[0]) for window in others]
        report["machine"] = machine()
        report["rows"] = [measured(*job) for job in jobs]
    path.write_text(json.dumps(report, indent=1))


def measured(bounds: str, *settings: str) -> dict[str, object]:
    """An export in a process of its own."""
    command = [sys.executable, __file__, "--one", bounds, *settings]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    row = json.loads(done.stdout)
    print(row, flush=True)
    return row


def one(bounds: str, name: str, dtype: str, what: str = "embedding") -> dict[str, object]:
    """Export one grid."""
    torch.manual_seed(0)
    model = geocsp.create(
        "location", "sphere2vec-spherec", dim=256, hidden=512, frequencies=64, min_radius=1e-3
    ).eval()
    grid, stages = Grid.of(0.05, bounds), {}

    def look(progress: ExportProgress) -> None:
        now = (time.perf_counter(), time.process_time(), memory())
        stages.setdefault(progress.stage.value, now)

    forward(model, grid, 4)
    before = forward(model, grid, 32)
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
        output = Path(folder) / name
        report = embed_grid(
            model,
            grid,
            output,
            quantity=Ramp() if what == "ramp" else None,
            dtype=CellType(dtype),
            on_progress=look,
        )
    ends = [*stages.values(), (time.perf_counter(), time.process_time(), memory())][1:]
    alone = (before + forward(model, grid, 32)) / 2
    cells = grid.shape[0] * grid.shape[1]
    each = dict(zip(stages, zip(stages.values(), ends, strict=True), strict=True))
    processor = {stage: 1e6 * (end[1] - start[1]) / cells for stage, (start, end) in each.items()}
    return {
        "rows": grid.shape[0],
        "columns": grid.shape[1],
        "values": what,
        "output": name,
        "dtype": dtype,
        "GB of numbers": cells * 256 * CellType(dtype).stored.itemsize / 1e9,
        "GB written": report.bytes / 1e9,
        "seconds": {stage: end[0] - start[0] for stage, (start, end) in each.items()},
        "cells a second": cells / report.seconds,
        "model alone, us of a core for a cell": 1e6 * alone,
        "export, us of a core for a cell": processor,
        "times the model alone": 1e-6 * sum(processor.values()) / alone,
        "peak memory by the end, MB": {stage: end[2] for stage, (_, end) in each.items()},
    }


def forward(model: torch.nn.Module, grid: Grid, count: int) -> float:
    """Seconds of one core for a cell of the model alone, over some blocks."""
    cut = blocks.Blocks(grid.shape, 128)
    places = [grid.centres(*cut.window(block)) for block in range(count)]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    start = time.process_time()
    for lonlat in places:
        model.embed(lonlat)
    torch.set_num_threads(threads)
    return (time.process_time() - start) / sum(map(len, places))


def memory() -> int:
    """Largest resident memory of this process so far, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000


if __name__ == "__main__":
    main()
