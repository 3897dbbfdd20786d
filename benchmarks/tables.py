"""Write the tables of README.md and RESULTS.md from the committed output of the demo.

python benchmarks/tables.py          rewrites them
python benchmarks/tables.py --check  fails if they are out of step
"""

import json
import sys
from pathlib import Path

from geocsp.demo.report import TITLES, labels_of, table_of
from geocsp.demo.work import INDUCTIVE, TRANSDUCTIVE

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "demo-full" / "results.json"


def main() -> None:
    results = json.loads(RESULTS.read_text())
    stale = []
    for path, text in (
        (ROOT / "README.md", readme(results)),
        (ROOT / "benchmarks" / "RESULTS.md", report(results)),
    ):
        before, rest = path.read_text().split("<!-- tables -->\n")
        after = rest.split("<!-- end of tables -->\n")[1]
        whole = f"{before}<!-- tables -->\n{text}<!-- end of tables -->\n{after}"
        if whole != path.read_text():
            stale.append(path.name)
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


def markdown_row(first: str, cells: list[str]) -> str:
    return f"| {first} | " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
