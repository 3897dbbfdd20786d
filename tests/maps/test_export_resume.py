import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import geocsp
from geocsp.errors import DataError
from geocsp.maps.export import CellType, Embedding, Stage, blocks, cells, embed_grid
from geocsp.maps.grid import Grid

rasterio = pytest.importorskip("rasterio", reason="pip install 'geocsp[geo]'")
pytest.importorskip("zarr", reason="pip install 'geocsp[geo]'")

WINDOW = Grid.of(0.25, "0,-40,100,40")
"""320 x 400 cells: three by four blocks."""
KILLED = """
import os, random, signal, sys, threading, time
from pathlib import Path
sys.path.insert(0, {tests!r})
from geocsp.maps.export import Stage, blocks, embed_grid
from test_export_resume import WINDOW, Slow, a_model

blocks._BYTES = 0
model, output, chance = a_model(), Path(sys.argv[1]), random.Random(int(sys.argv[2]))

def in_a_child(death):
    child = os.fork()
    if not child:
        def look(progress):
            if progress.stage is death.get("stage") and progress.done >= death.get("done", 0):
                threading.Timer(death["wait"], os.kill, (os.getpid(), signal.SIGKILL)).start()
        embed_grid(model, WINDOW, output, quantity=Slow(model), workers=2, on_progress=look)
        os._exit(0)
    if "after" in death:
        time.sleep(death["after"])
        os.kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1] == signal.SIGKILL

deaths = [dict(after=chance.uniform(0, 0.05)) for _ in range(4)]
for done in sorted(chance.sample(range(320 * 250), 6)):
    deaths.append(dict(stage=Stage.CELLS, done=done, wait=chance.uniform(0, 0.003)))
deaths += [dict(stage=Stage.OVERVIEWS, done=done, wait=0) for done in (1, 4)]
deaths += [dict(stage=Stage.FILE, wait=wait) for wait in (0, 0, chance.uniform(0, 0.03))]
killed = 0
for death in deaths:
    killed += in_a_child(death)
    if not output.exists():
        assert (death.get("after", 1) < 0.05) or Path(f"{{output}}.partial").is_dir()
killed += not in_a_child({{}})
print(killed)
"""


def a_model():
    torch.manual_seed(0)
    return geocsp.create("location", "sphere2vec-spherec", dim=6, hidden=16, frequencies=8).eval()


class Slow(Embedding):
    """Takes a moment, so that there is a time to die."""

    def of(self, lonlat):
        import time

        time.sleep(0.01 if len(lonlat) > 1000 else 0)
        return super().of(lonlat)


class Stopping(Embedding):
    """Fails once it has embedded so many cells, counts them."""

    def __init__(self, model, limit=10**9):
        super().__init__(model)
        object.__setattr__(self, "limit", limit)
        object.__setattr__(self, "cells", 0)

    def of(self, lonlat):
        object.__setattr__(self, "cells", self.cells + len(lonlat))
        if self.cells > self.limit:
            raise KeyboardInterrupt
        return super().of(lonlat)


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    monkeypatch.setattr(blocks, "_BYTES", 0)


@pytest.fixture(scope="module")
def model():
    return a_model()


def contents(path):
    files = path.rglob("*") if path.is_dir() else [path]
    return {
        str(file.relative_to(path.parent)): file.read_bytes() for file in files if file.is_file()
    }


@pytest.mark.parametrize("name", ["out.tif", "out.zarr"])
def test_killed_at_any_moment_it_ends_as_if_undisturbed(tmp_path, model, name):
    (tmp_path / "killed").mkdir()
    script = KILLED.format(tests=str(Path(__file__).parent))
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "killed" / name, "7"],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= (10 if name == "out.tif" else 7)
    embed_grid(model, WINDOW, tmp_path / "whole" / name, quantity=Slow(model))
    assert contents(tmp_path / "killed") == {
        key.replace("whole/", "killed/"): content
        for key, content in contents(tmp_path / "whole").items()
    }


@pytest.mark.parametrize("name", ["out.tif", "out.zarr"])
def test_only_what_is_missing_is_computed(tmp_path, model, name):
    path = tmp_path / name
    first = Stopping(model, 100_000)
    with pytest.raises(KeyboardInterrupt):
        embed_grid(model, WINDOW, path, quantity=first, workers=1)
    assert not path.exists()
    again = Stopping(model)
    report = embed_grid(model, WINDOW, path, quantity=again, workers=1)
    blocks_done = [128 * 128] * 3 + [128 * 16] + [128 * 128] * 2  # the first six of twelve
    assert report.found == sum(blocks_done)
    assert report.computed == 320 * 400 - sum(blocks_done)
    assert report.computed <= again.cells < report.computed + 1000  # a few to know them again
    embed_grid(model, WINDOW, tmp_path / "whole" / name)
    assert contents(path) == contents(tmp_path / "whole" / name)


def test_the_scale_of_int8_stays(tmp_path, model, monkeypatch):
    path, whole, stopping = tmp_path / "out.tif", tmp_path / "whole.tif", Stopping(model, 80_000)
    embed_grid(model, WINDOW, whole, dtype=CellType.INT8)
    with pytest.raises(KeyboardInterrupt):
        embed_grid(model, WINDOW, path, quantity=stopping, dtype=CellType.INT8, workers=1)
    monkeypatch.setattr(cells, "_HEADROOM", 1.2500001)  # as if measured by another processor
    embed_grid(model, WINDOW, path, dtype=CellType.INT8)
    assert path.read_bytes() == whole.read_bytes()


def interrupted(model, path, **settings):
    with pytest.raises(KeyboardInterrupt):
        embed_grid(model, WINDOW, path, quantity=Stopping(model, 60_000), workers=1, **settings)


@pytest.mark.parametrize("name", ["out.tif", "out.zarr"])
def test_work_with_other_settings_is_not_gone_on_with(tmp_path, model, name):
    path = tmp_path / name
    interrupted(model, path)
    before = contents(tmp_path)
    for problem, grid, settings in [
        (r"grid\.step", Grid.of(0.5, "0,-40,100,40"), {}),
        (r"grid\.north", Grid.of(0.25, "0,-40,100,41"), {}),
        ("dtype", WINDOW, {"dtype": CellType.FLOAT32}),
        ("quantity", WINDOW, {"quantity": Embedding(model, normalise=True)}),
    ]:
        with pytest.raises(DataError, match=rf"\.partial is there with other settings.*{problem}"):
            embed_grid(model, grid, path, **settings)
    assert contents(tmp_path) == before
    embed_grid(model, WINDOW, path)


def test_damaged_work_is_told(tmp_path, model):
    for file, content in (("settings.json", b"{"), ("blocks.done", b"short")):
        path = tmp_path / file / "out.tif"
        interrupted(model, path)
        (path.parent / "out.tif.partial" / file).write_bytes(content)
        with pytest.raises(DataError, match=rf"{file} is damaged; delete .*out\.tif\.partial"):
            embed_grid(model, WINDOW, path)


@pytest.mark.parametrize("name", ["out.tif", "out.zarr"])
def test_blocks_whose_file_is_gone_are_computed_again(tmp_path, model, name):
    path = tmp_path / name
    interrupted(model, path)
    values = tmp_path / f"{name}.partial" / f"values{path.suffix}"
    values.rename(tmp_path / "away")
    report = embed_grid(model, WINDOW, path)
    assert report.found == 0
    embed_grid(model, WINDOW, tmp_path / "whole" / name)
    assert contents(path) == contents(tmp_path / "whole" / name)


def test_a_run_that_died_at_once_is_gone_on_with(tmp_path, model):
    folder = tmp_path / "out.tif.partial"
    folder.mkdir()
    (folder / ".settings.json.1234.tmp").write_text("{")
    embed_grid(model, WINDOW, tmp_path / "out.tif")
    assert [inner.name for inner in tmp_path.iterdir()] == ["out.tif"]


def test_what_a_finished_run_left_behind_is_cleared(tmp_path, model):
    path = tmp_path / "out.tif"
    interrupted(model, path)
    kept = tmp_path / "kept"
    (tmp_path / "out.tif.partial").rename(kept)
    embed_grid(model, WINDOW, path)
    kept.rename(tmp_path / "out.tif.partial")  # as if it died between its last two steps
    report = embed_grid(model, WINDOW, path)
    assert report.computed == 0
    assert [inner.name for inner in tmp_path.iterdir()] == ["out.tif"]


def test_the_disk_failing_is_told(tmp_path, model, monkeypatch):
    def full(path, offset, content):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("geocsp.maps.export.tiles.write_at", full)
    with pytest.raises(RuntimeError, match=r"values\.tif: No space left on device; the same call"):
        embed_grid(model, WINDOW, tmp_path / "out.tif")


def test_a_failing_assembly_is_told_and_made_up_for(tmp_path, model, monkeypatch):
    import rasterio.shutil

    def broken(*arguments, **settings):
        raise rasterio.errors.RasterioIOError("the driver is unwell")

    path, seen = tmp_path / "out.tif", []
    with monkeypatch.context() as patch:
        patch.setattr(rasterio.shutil, "copy", broken)
        with pytest.raises(RuntimeError, match="the driver is unwell"):
            embed_grid(model, WINDOW, path)
    assert not path.exists()
    report = embed_grid(model, WINDOW, path, on_progress=seen.append)
    assert report.computed == 0
    assert seen[0].stage is Stage.CELLS
    assert seen[0].done == seen[0].total
