"""Write the tables of README.md, RESULTS.md and docs from committed results.

python benchmarks/tables.py          rewrites them
python benchmarks/tables.py --check  fails if they are out of step
"""

import json
import re
import sys
from pathlib import Path

import encoder_tables
from tabular import markdown_row, markdown_table, sections, shown

from geocsp.demo.report import TITLES, labels_of, table_of
from geocsp.demo.work import INDUCTIVE, TRANSDUCTIVE

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "benchmarks"


def main() -> None:
    names = ("demo-full/results.json", "encoders.json", "location.json", "data.json", "train.json")
    demo, study, speed, data, train = (json.loads((FOLDER / name).read_text()) for name in names)
    texts = {
        (ROOT / "README.md", "tables"): readme(demo),
        (FOLDER / "RESULTS.md", "tables"): report(demo),
        (FOLDER / "RESULTS.md", "location speed"): encoder_tables.speed(speed),
        (FOLDER / "RESULTS.md", "data"): reading(data),
        (FOLDER / "RESULTS.md", "training"): training(train),
        (ROOT / "docs" / "encoders.md", "encodings"): encoder_tables.encodings(),
        (ROOT / "docs" / "encoders.md", "study"): encoder_tables.study(study),
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


def readme(results: dict) -> str:
    parts = [
        accuracy_table(results, "landcover", INDUCTIVE, measure)
        for measure in ("location", "fused")
    ]
    return "\n".join(parts)


def report(results: dict) -> str:
    tasks = results["settings"]["tasks"]
    parts = [
        accuracy_table(results, task, regime, measure)
        for task in tasks
        for regime in (INDUCTIVE, TRANSDUCTIVE)
        for measure in TITLES
    ]
    parts += [difference_table(results, task) for task in tasks]
    return "\n".join(parts)


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


def accuracy_table(results: dict, task: str, regime: str, measure: str) -> str:
    shots = list(dict.fromkeys(row["shot"] for row in results["table"] if row["task"] == task))
    lines = [
        f"**{task}, {TITLES[measure]}, {regime}**",
        "",
        markdown_row("Top-1, %", shots),
        markdown_row("---", ["---:"] * len(shots)),
    ]
    for label, cells in table_of(results, task, regime, measure):
        lines.append(markdown_row(label, [accuracy(cell) for cell in cells]))
    return "\n".join(lines) + "\n"


def accuracy(cell: dict) -> str:
    text = f"{100 * cell['mean']:.1f} ±{100 * cell['half_width']:.1f}"
    gain = cell.get("relative_gain")
    return f"{text} ({100 * gain:+.0f}%)" if gain else text


def difference_table(results: dict, task: str) -> str:
    labels = labels_of(results)
    shots = list(dict.fromkeys(row["shot"] for row in results["comparisons"]))
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for row in results["comparisons"]:
        if row["task"] != task:
            continue
        first, second = (named(row[side], labels) for side in ("first", "second"))
        difference, half = row["difference"]["mean"], row["difference"]["half_width"]
        text = f"{100 * difference:+.1f} ±{100 * half:.1f}, {row['folds_won']}/{row['folds']}"
        rows.setdefault((first, second), {})[row["shot"]] = text
    lines = [
        f"**{task}, paired differences in points, inductive (95 % interval, folds won)**",
        "",
        markdown_row("difference", shots),
        markdown_row("---", ["---:"] * len(shots)),
    ]
    for (first, second), cells in rows.items():
        lines.append(markdown_row(f"{first} − {second}", [cells[shot] for shot in shots]))
    return "\n".join(lines) + "\n"


def named(side: str, labels: dict[str, str]) -> str:
    method, measure = side.rsplit(" ", 1)
    return f"{labels[method]} {TITLES.get(measure, 'image alone')}"


if __name__ == "__main__":
    main()
