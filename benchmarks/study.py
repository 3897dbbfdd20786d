"""The study behind the preset ``best``: on Blue Marble tiles, all folds, five seeds, both tasks.

*main*: 20,000 tiles, from 1 to 300 labels of a class and 1, 5 and 10 % of all labels: the image
alone, priors without weights, supervised training alone, the paper's CSP, and ``best``.

*factors*: 3,000 tiles, 3 labels of a class and 5 %: ``best`` with one thing changed at a time
(location encoder, negatives, temperature, epochs, head), the paper's ablations, SimCLR.

*scaling*: 20,000 tiles, 3 labels of a class and 5 %: ``best`` pre-trained on fewer images.

*transductive*: the same with ``best`` pre-trained on the training tiles, some 11,500, and on all
20,000, those of the test fold included.

The settings of ``best`` were chosen before, on fold 0 (tune.py), which is never tested here.

python benchmarks/study.py [main] [scaling] [transductive] [factors]    writes benchmarks/study.json
python benchmarks/study.py pictures    draws the main table into benchmarks/study

Run folders with everything (reports, labelled rows, answers) are left in runs/study.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from geocsp.data.named.bluemarble import bluemarble
from geocsp.demo.figures import COLOURS, write_figures
from geocsp.evaluate.bluemarble_rows import PAPER_ON_TILES
from geocsp.evaluate.fewshot import Shot
from geocsp.evaluate.report import write_report, write_tables
from geocsp.evaluate.results import Results
from geocsp.evaluate.rows import Row, rows_named
from geocsp.evaluate.run import evaluate
from geocsp.evaluate.settings import EvaluateSettings
from geocsp.evaluate.sources import BlueMarbleSource
from geocsp.images import EfficientNetLite0
from geocsp.presets import BEST, Component, Preset
from geocsp.train.finetune import FinetuneSettings
from geocsp.train.linear import LinearSettings

RUNS = Path("runs/study")
MAIN = (
    "image",
    "image-aligned",
    "frequency",
    "grid-histogram",
    "knn",
    "sup-grid",
    "csp-mc-bld",
    "best",
)
CURVE = tuple(Shot(per_class=count) for count in (1, 3, 10, 30, 100, 300))
SHARES = tuple(Shot(ratio=ratio) for ratio in (0.01, 0.05, 0.1))
TWO = (Shot(per_class=3), Shot(ratio=0.05))
FINETUNED = replace(
    BEST,
    linear=None,
    finetune=FinetuneSettings(steps=150, batch_size=256, learning_rate=5e-3, location_rate=0.2),
)
LINEAR = replace(BEST, linear=LinearSettings(30.0))


def named(names: tuple[str, ...]) -> tuple[Row, ...]:
    return rows_named(names, PAPER_ON_TILES, EfficientNetLite0.dim)


def variants() -> tuple[Row, ...]:
    """``best`` with one thing changed at a time."""

    def encoder(name: str, **settings: object) -> Preset:
        return replace(BEST, location=Component(name, {"dim": 256} | settings))

    def objective(**settings: object) -> Preset:
        assert BEST.objective is not None
        return replace(BEST, objective=Component("csp-mc", BEST.objective.settings | settings))

    def epochs(count: int) -> Preset:
        return replace(BEST, pretrain=replace(BEST.pretrain, epochs=count))

    changed = {
        "encoder: wrap": encoder("wrap"),
        "encoder: rbf": encoder("rbf", width=10.0),
        "negatives: with random places": objective(random_location=1.0),
        "negatives: with dropout views": objective(dropout=1.0),
        "negatives: near ones too": objective(mask_km=0.0),
        "negatives: one direction": objective(symmetric=False),
        "temperature: fixed at 1": objective(learnable_temperature=False),
        "temperature: fixed at 0.2": objective(
            learnable_temperature=False, temperatures=(0.2, 0.2, 0.2)
        ),
        "epochs: 10": epochs(10),
        "epochs: 60": epochs(60),
        "head: fine-tuned": FINETUNED,
        "head: linear, not self-trained": LINEAR,
        "image: raw features": replace(BEST, aligned_image=False),
    }
    return tuple(Row(_short(label), label, preset) for label, preset in changed.items())


def _short(label: str) -> str:
    letters = (letter if letter.isalnum() else "-" for letter in label)
    return "-".join(part for part in "".join(letters).split("-") if part)


def sizes() -> tuple[Row, ...]:
    """``best`` pre-trained on fewer images."""
    return tuple(
        Row(f"best-{count}", f"best, {count:,} images", BEST, pretrain_images=count)
        for count in (1000, 4000)
    )


def rows_of(name: str) -> tuple[Row, ...]:
    if name == "main":
        return named(MAIN)
    if name == "scaling":
        return sizes()
    if name == "transductive":
        return named(("best",))
    ablations = ("csp-mc-b", "csp-mc-bl", "csp-mc-bd", "csp-mc-bld", "csp-nce-bld", "mse")
    return named(("image", "simclr", "kde", "sup-grid", *ablations, "best")) + variants()


def run(name: str) -> dict[str, Any]:
    rows, points = rows_of(name), 3_000 if name == "factors" else 20_000
    settings = EvaluateSettings(
        rows=tuple(row.name for row in rows),
        shots=CURVE + SHARES if name == "main" else TWO,
        transductive=name == "transductive",
    )
    source = BlueMarbleSource(points=points, views=2 if name == "factors" else 0)
    results = evaluate(source, rows, settings, RUNS / name)
    write_tables(results, RUNS / name)
    write_report(results, RUNS / name)
    kept = ("settings", "seed", "versions", "data", "rows", "baseline", "times", "comparisons")
    return {key: results.facts[key] for key in kept} | {"table": results.facts["table"]}


def pictures() -> None:
    """Pictures of the main table for the README."""
    results = Results.read(RUNS / "main")
    rows = {name: row for name, row in results.facts["rows"].items() if name in COLOURS}
    shown = replace(results, facts=results.facts | {"rows": rows})
    folder = Path(__file__).with_suffix("")
    folder.mkdir(exist_ok=True)
    write_figures(shown, bluemarble(20_000), folder)


def main() -> None:
    path = Path(__file__).with_suffix(".json")
    for name in sys.argv[1:] or ("main", "scaling", "transductive", "factors"):
        if name == "pictures":
            pictures()
            continue
        facts = run(name)
        found = json.loads(path.read_text()) if path.is_file() else {}
        path.write_text(json.dumps(found | {name: facts}, indent=1) + "\n")


if __name__ == "__main__":
    main()
