"""Write the tables of README.md, RESULTS.md and docs from committed results.

python benchmarks/tables.py          rewrites them
python benchmarks/tables.py --check  fails if they are out of step
"""

import json
import re
import sys
from pathlib import Path

import encoder_tables
from tabular import markdown_table, sections, shown

from geocsp.demo.report import TITLES, table_of
from geocsp.evaluate.results import Measure, Regime

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "benchmarks"


def main() -> None:
    names = ("study", "encoders", "location", "data", "train", "tune", "app", "geolocate", "grid")
    study, encoders, speed, data, train, tune, explorer, geolocate, grid = (
        json.loads((FOLDER / f"{name}.json").read_text()) for name in names
    )
    texts = {
        (ROOT / "README.md", "tables"): readme(study["main"]),
        (FOLDER / "RESULTS.md", "main"): main_tables(study["main"]),
        (FOLDER / "RESULTS.md", "tuning"): tuning_table(tune),
        (FOLDER / "RESULTS.md", "transductive"): transductive_tables(study["transductive"]),
        (FOLDER / "RESULTS.md", "location speed"): encoder_tables.speed(speed),
        (FOLDER / "RESULTS.md", "data"): reading(data),
        (FOLDER / "RESULTS.md", "training"): training(train),
        (FOLDER / "RESULTS.md", "app"): app_table(explorer),
        (FOLDER / "RESULTS.md", "geolocate"): geolocate_table(geolocate),
        (FOLDER / "RESULTS.md", "grid"): grid_table(grid),
        (ROOT / "docs" / "encoders.md", "encodings"): encoder_tables.encodings(),
        (ROOT / "docs" / "encoders.md", "study"): encoder_tables.study(encoders),
    }
    stale = []
    for (path, name), text in texts.items():
        page = path.read_text()
        between = re.compile(f"(<!-- {name} -->\n).*(<!-- end of {name} -->\n)", re.DOTALL)
        assert between.search(page), (path, name)
        whole = between.sub(lambda found, text=text: found[1] + text + found[2], page)
        if whole != page:
            stale.append(f"{path.name} ({name})")
            if "--check" not in sys.argv:
                path.write_text(whole)
    if stale and "--check" in sys.argv:
        sys.exit(f"{', '.join(stale)}: out of step, run python benchmarks/tables.py")


def readme(facts: dict) -> str:
    return "\n".join(
        accuracy_table(facts, task, measure)
        for task in ("landcover", "climate")
        for measure in (Measure.LOCATION, Measure.FUSED)
    )


def main_tables(facts: dict) -> str:
    tasks = facts["data"]["tasks"]
    parts = [accuracy_table(facts, task, measure) for task in tasks for measure in TITLES]
    for task in tasks:
        parts += [difference_table(facts, task, measure) for measure in TITLES]
        parts.append(over_image_table(facts, task))
    parts.append(cost_table(facts))
    return "\n".join(parts)


def transductive_tables(facts: dict) -> str:
    """Top-1 by whether pre-training has seen the tiles of the test fold."""
    measures, parts = (Measure.IMAGE, Measure.LOCATION, Measure.FUSED), []
    shots = facts["data"]["shots"]
    for task in facts["data"]["tasks"]:
        headings = [f"{task}, Top-1, %"]
        headings += [f"{measure}, {shot}" for measure in measures for shot in shots]
        rows = []
        for name, regime in dict.fromkeys((c["row"], c["regime"]) for c in facts["table"]):
            cells = {
                c["shot"]: c
                for c in facts["table"]
                if (c["task"], c["row"], c["regime"]) == (task, name, regime)
            }
            found = [interval(cells[s][m]["top1"]) for m in measures for s in shots]
            rows.append([f"{facts['rows'][name]['label']}, {regime}", *found])
        parts.append(markdown_table(headings, rows))
    return "\n".join(parts)


def tuning_table(report: dict) -> str:
    """Location alone and calibrated product, by what is pre-trained and what head is on it."""
    rows, shots = report["rows"], list(dict.fromkeys(row["shot"] for row in report["rows"]))
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    values = {
        (r["tower"], r["head"], r["task"], r["shot"], r["measure"]): f"{100 * r['top1']:.1f}"
        for r in rows
    }
    pairs = list(dict.fromkeys((row["tower"], row["head"]) for row in rows))
    cells = [
        [
            f"{tower}; {head}",
            *(
                f"{values[tower, head, task, shot, 'location']} / "
                f"{values[tower, head, task, shot, 'fused']}"
                for task in tasks
                for shot in shots
            ),
        ]
        for tower, head in pairs
    ]
    headings = [f"{task}, {shot}" for task in tasks for shot in shots]
    return markdown_table(["location alone / calibrated product, %", *headings], cells)


def reading(results: dict) -> str:
    titles = {
        "extraction": "Extraction of image features",
        "batches": "Training batches from the cache",
        "tables": "Opening a large table, in a process of its own",
    }
    return sections(results, titles)


def training(results: dict) -> str:
    measures = {
        "s": "seconds",
        "times as fast": "times as fast as the research recipe",
        "GFLOP/s": "GFLOP/s",
        "products alone, GFLOP/s": "matrix products alone, GFLOP/s",
        "share of products alone": "share of the products' speed",
        "loss afterwards, against research recipe": "loss afterwards by the research recipe's",
    }
    headings = ["", "research recipe", "float32", "bfloat16"]
    parts = []
    for row in results["epochs"]:
        rows = []
        for key, title in measures.items():
            ours = [shown(row[f"{precision}, {key}"]) for precision in headings[2:]]
            rows.append([title, shown(row[f"research recipe, {key}"]) if key == "s" else "", *ours])
        parts.append(f"**{row['what'].capitalize()}**\n\n{markdown_table(headings, rows)}")
    return "\n".join(parts)


def app_table(results: dict) -> str:
    encoders = results["encoders"]
    rows = zip(*encoders.values(), strict=True)
    cells = [
        [each[0]["what"].strip(), *(f"{row['p50 ms']:.0f} ({row['p99 ms']:.0f})" for row in each)]
        for each in rows
    ]
    return markdown_table(["ms: median (p99)", *encoders], cells)


def geolocate_table(results: dict) -> str:
    (facts,) = results.values()
    rows = []
    for what, value in facts.items():
        if what == "machine":
            continue
        timed = isinstance(value, dict)
        text = f"{value['clock']:.3g} ({value['processor']:.3g})" if timed else f"{value:,.6g}"
        rows.append([what, text if not isinstance(value, bool) else ("yes" if value else "no")])
    return markdown_table(["places of a grid 22.5 km wide", "clock (processor)"], rows)


def grid_table(results: dict) -> str:
    headings = ["cells", "values", "file", "cells/s", "times the model alone", "peak memory, MB"]
    rows = [
        [
            f"{row['rows']:,} x {row['columns']:,}",
            f"{row['values']}, {row['dtype']}",
            row["output"].removeprefix("out."),
            f"{row['cells a second']:,.0f}",
            f"{row['times the model alone']:.1f}" if "times the model alone" in row else "",
            f"{max(row['peak memory by the end, MB'].values()):,}",
        ]
        for row in (*results["rows"], *results["globe"])
    ]
    return markdown_table(headings, rows)


def accuracy_table(facts: dict, task: str, measure: Measure) -> str:
    headings = [f"{task}, {TITLES[measure]}, Top-1, %", *facts["data"]["shots"]]
    rows = [
        [label, *("" if cell is None else accuracy(cell) for cell in cells)]
        for label, cells in table_of(facts, task, Regime.INDUCTIVE, measure)
    ]
    return markdown_table(headings, rows)


def accuracy(cell: dict) -> str:
    text = f"{100 * cell['mean']:.1f} ±{100 * cell['half_width']:.1f}"
    gain = cell.get("relative_gain")
    return f"{text} ({100 * gain:+.0f}%)" if gain else text


def interval(metric: dict) -> str:
    return f"{100 * metric['mean']:.1f} ±{50 * (metric['high'] - metric['low']):.1f}"


def signed(comparison: dict) -> str:
    star = "\\*" if comparison["significant"] else ""
    return f"{100 * comparison['difference']:+.1f}{star}"


def difference_table(facts: dict, task: str, measure: Measure) -> str:
    pairs = (("csp-mc-bld", "sup-grid"), ("best", "sup-grid"), ("best", "csp-mc-bld"))
    found = {
        (c["first"], c["second"], c["shot"]): c
        for c in facts["comparisons"]
        if c["task"] == task and c["measure"] == measure and c["regime"] == Regime.INDUCTIVE
    }
    return _differences(
        facts,
        f"{task}, {TITLES[measure]}, points",
        [
            (
                f"{facts['rows'][one]['label']} − {facts['rows'][other]['label']}",
                lambda shot, one=one, other=other: found[one, other, shot],
            )
            for one, other in pairs
        ],
    )


def over_image_table(facts: dict, task: str) -> str:
    found = {
        (c["first"], c["measure"], c["shot"]): c
        for c in facts["comparisons"]
        if c["task"] == task and c["first"] == c["second"]
    }
    measures = (Measure.PRODUCT, Measure.FUSED, Measure.GUARDED)
    return _differences(
        facts,
        f"{task}, over the row's own image alone, points",
        [
            (
                f"{row['label']}, {TITLES[measure]}",
                lambda shot, name=name, measure=measure: found[name, measure, shot],
            )
            for name, row in facts["rows"].items()
            for measure in measures
            if any(key[:2] == (name, measure) for key in found)
        ],
    )


def _differences(facts: dict, title: str, rows: list) -> str:
    shots = facts["data"]["shots"]
    return markdown_table(
        [title, *shots],
        [[label, *(difference(of(shot)) for shot in shots)] for label, of in rows],
    )


def difference(comparison: dict) -> str:
    half = 50 * (comparison["high"] - comparison["low"])
    return f"{signed(comparison)} ±{half:.1f}, {comparison['folds_won']}/{comparison['folds']}"


def cost_table(facts: dict) -> str:
    cells: dict[str, list] = {}
    for cell in facts["table"]:
        cells.setdefault(cell["row"], []).append(cell)
    rows = [
        [
            row["label"],
            shown(int(max(c["parameters"] for c in cells[name]))),
            f"{cells[name][0]['pretrain_seconds']:.0f}",
            f"{sum(c['seconds'] for c in cells[name]) / len(cells[name]):.2f}",
        ]
        for name, row in facts["rows"].items()
    ]
    headings = ["row", "numbers kept", "pre-training, s", "head, prior and fusion, s"]
    return markdown_table(headings, rows)


if __name__ == "__main__":
    main()
