"""The pages of the documentation: their blocks of code, and how these are run."""

import contextlib
import importlib.util
import io
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from PIL.ExifTags import GPS, IFD

import geocsp
from geocsp.cli import main
from geocsp.data.named.bluemarble import bluemarble

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
SHOWN = ("text", "yaml")
"""Languages that are shown and do nothing."""
_BLOCK = re.compile(
    r"^(?:<!-- not run: (?P<why>[^>]+?) -->\n)?```(?P<language>[^\n]*)\n(?P<code>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)


@dataclass(frozen=True)
class Block:
    """Code on a page; ``why`` says why it is not run."""

    language: str
    code: str
    why: str | None


def blocks(page):
    """All blocks of a page, in order."""
    found = _BLOCK.finditer(page.read_text(encoding="utf-8"))
    return [Block(one["language"], one["code"], one["why"]) for one in found]


def run(block, namespace):
    """Run a block in the current folder; what it printed."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        if block.language == "python":
            exec(compile(block.code, "<page>", "exec"), namespace)
        else:
            for line in block.code.replace("\\\n", " ").splitlines():
                _command(shlex.split(line, comments=True))
    return printed.getvalue()


def _command(words):
    """Run a command of geocsp in this process, which saves the imports; nothing else is run."""
    if not words:
        return
    assert words[0] == "geocsp", f"only geocsp is run, not {words[0]}; mark the block"
    output = None
    if ">" in words:
        words, output = words[: words.index(">")], words[words.index(">") + 1]
    words = [word.replace(":/data/", ":data/") for word in words]
    if "--devices" in words:  # starts processes, which start from the program
        subprocess.run([sys.executable, "-m", *words], check=True)
        return
    printed, before, code = io.StringIO(), sys.argv, None
    sys.argv = words
    try:
        with contextlib.redirect_stdout(printed) if output else contextlib.nullcontext():
            main()
    except SystemExit as end:
        code = end.code
    finally:
        sys.argv = before
    assert not code, f"{shlex.join(words)} ended with {code}"
    if output:
        Path(output).write_text(printed.getvalue())


def photographed(folder, each):
    """Photos with their place in EXIF, a sub-folder for each of four classes, and a table."""
    data = bluemarble(points=2000)
    task = data.tasks["landcover"]
    lines = ["photo,Longitude,Latitude,habitat"]
    for code in np.argsort(-np.bincount(task.labels[task.labels >= 0]))[:4]:
        name = task.class_names[code]
        (folder / "photos" / name).mkdir(parents=True)
        for row in np.flatnonzero(task.labels == code)[:each]:
            photo = f"photos/{name}/IMG_{len(lines):04}.jpg"
            lon, lat = data.lonlat[row]
            exif = Image.Exif()
            gps = {GPS.GPSLongitudeRef: "EW"[int(lon < 0)], GPS.GPSLongitude: (abs(lon), 0.0, 0.0)}
            gps |= {GPS.GPSLatitudeRef: "NS"[int(lat < 0)], GPS.GPSLatitude: (abs(lat), 0.0, 0.0)}
            exif[IFD.GPSInfo] = gps
            picture = Image.fromarray(data.images(np.array([row]))[0])
            picture.save(folder / photo, exif=exif)
            lines.append(f"{photo},{lon:.5f},{lat:.5f},{name}")
    for table in ("sites.csv", "observations.csv"):
        (folder / table).write_text("\n".join(lines))
    points = pd.read_csv(folder / "sites.csv")[["Longitude", "Latitude"]]
    points.to_csv(folder / "points.csv", index=False)


def published(folder):
    """Miniatures of the published data sets."""
    path = ROOT / "tests" / "commands" / "miniatures.py"
    spec = importlib.util.spec_from_file_location("docs_miniatures", path)
    miniatures = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(miniatures)
    miniatures.inat2018(folder / "data" / "inat2018")
    miniatures.fmow(folder / "data" / "fmow")


def scored(folder):
    """Scores of another classifier for the classes of runs/classifier."""
    names = list(geocsp.load(folder / "runs" / "classifier").class_names)
    generator = np.random.default_rng(0)
    for name in ("scores", "validation"):
        labels = generator.integers(len(names), size=80)
        logits = generator.normal(size=(80, len(names))) + 2 * np.eye(len(names))[labels]
        table = pd.DataFrame(torch.from_numpy(logits).softmax(1).numpy(), columns=names)
        table["lon"], table["lat"] = generator.uniform([-120, -40], [120, 60], (80, 2)).T
        table["label"] = [names[label] for label in labels]
        table.to_parquet(folder / f"{name}.parquet")
    np.save(folder / "logits.npy", logits)
    (folder / "names.txt").write_text("\n".join(names))
    table[["lon", "lat", "label"]].to_csv(folder / "places.csv", index=False)
