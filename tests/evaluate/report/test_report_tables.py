import re

import numpy as np
import pytest
from synthetic_results import IMAGE, ROWS, SyntheticRow, write_results

from geocsp.evaluate.report import write_tables
from geocsp.evaluate.report.tables import escape_latex, table_of, tables_of
from geocsp.evaluate.report.view import View
from geocsp.evaluate.results import Measure, Regime


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return write_results(tmp_path_factory.mktemp("tables") / "run")


def top1(results, task, shot, row, measure):
    """Mean over runs, from the answers themselves."""
    runs = [r for r in results.runs if (r.task, r.shot, r.row) == (task, shot, row)]
    answers = [results.answers(run, measure) for run in runs]
    return np.mean([(a.predicted == a.labels).mean() for a in answers])


def markdown_rows(text, title):
    block = text.split(f"### {title}\n\n")[1].split("\n\n")[0]
    return [[c.strip() for c in line.strip("|").split("|")] for line in block.splitlines()]


def test_markdown_holds_what_the_answers_say(results, tmp_path):
    markdown, _ = write_tables(results, tmp_path / "new" / "folder")
    title = "landcover: image and place, calibrated, pre-trained on training images alone"
    head, _, *rows = markdown_rows(markdown.read_text(), title)
    shots = ["3 per class", "5 %", "100 %"]
    assert head == [
        "Top-1, %",
        *(f"{s} ({n} labels)" for s, n in zip(shots, (10, 40, 160), strict=True)),
    ]
    assert [row[0] for row in rows] == [row.label for row in ROWS]
    for row, cells in zip(ROWS, rows, strict=True):
        measure = Measure.IMAGE if row.measures == IMAGE else Measure.FUSED
        for shot, cell in zip(shots, cells[1:], strict=True):
            mean = top1(results, "landcover", shot, row.name, measure)
            assert float(re.match(r"\**([\d.]+)", cell)[1]) == pytest.approx(100 * mean, abs=0.051)
            base = top1(results, "landcover", shot, "sup-grid", Measure.FUSED)
            gain = re.search(r"([+-]\d+) %\)", cell)
            if row.name == "sup-grid":
                assert gain is None
            else:
                assert int(gain[1]) == round(100 * (mean / base - 1))


def test_the_highest_of_each_column_is_bold_and_no_other(results, tmp_path):
    markdown, latex = (path.read_text() for path in write_tables(results, tmp_path))
    for table in tables_of(View(results)):
        _, _, *rows = markdown_rows(markdown, table.title)
        for column in range(1, 4):
            values = [float(re.search(r"[\d.]+", row[column])[0]) for row in rows]
            bold = [row[column].startswith("**") for row in rows]
            assert any(bold)
            assert all(v == max(values) for v, is_bold in zip(values, bold, strict=True) if is_bold)
    assert latex.count(r"\textbf{") == markdown.count("**") / 2


def test_both_files_hold_the_same_numbers(results, tmp_path):
    texts = (path.read_text() for path in write_tables(results, tmp_path))
    markdown, latex = (text.partition("\n\n")[2] for text in texts)  # without what the data are
    cells = [re.findall(r"\d+\.\d", text) for text in (markdown, latex)]
    assert cells[0] == cells[1]
    assert len(cells[0]) == 3 * 3 * (4 + 3 + 4 + 4)  # mean and interval, by shot and row


def test_marks_follow_the_comparisons(results):
    facts = results.facts["comparisons"]
    table = table_of(View(results), "landcover", Regime.INDUCTIVE, Measure.FUSED)
    seen = set()
    for line in table.lines:
        for shot, entry in zip(table.shots, line.entries, strict=True):
            for second, against, mark in (
                ("sup-grid", line.measure, entry.against_baseline),
                (line.row, "image", entry.against_image),
            ):
                found = [
                    c
                    for c in facts
                    if (c["shot"], c["first"], c["second"]) == (shot, line.row, second)
                    and (c["measure"], c["against"]) == (line.measure, against)
                    and line.measure is Measure.FUSED
                ]
                wanted = [np.sign(c["difference"]) if c["significant"] else 0 for c in found]
                assert mark == (wanted[0] if wanted else 0)
                seen.add(mark)
    assert {0, 1} <= seen


def test_a_comparison_counts_from_either_side(results):
    view = View(results)
    table = table_of(view, "landcover", Regime.INDUCTIVE, Measure.FUSED)
    for comparison in results.facts["comparisons"]:
        if comparison["first"] != comparison["second"]:
            swap = {"first": comparison["second"], "second": comparison["first"]}
            numbers = {"difference": -comparison["difference"]}
            comparison |= swap | numbers
    turned = table_of(View(results), "landcover", Regime.INDUCTIVE, Measure.FUSED)
    for comparison in results.facts["comparisons"]:
        if comparison["first"] != comparison["second"]:
            swap = {"first": comparison["second"], "second": comparison["first"]}
            comparison |= swap | {"difference": -comparison["difference"]}
    assert turned == table


def test_a_single_run_has_no_interval(tmp_path):
    results = write_results(tmp_path / "run", folds=("1",), seeds=(0,))
    for table in tables_of(View(results)):
        for line in table.lines:
            assert all(entry.low is None and entry.high is None for entry in line.entries)


def test_each_regime_has_its_tables_with_the_rows_without_pretraining(tmp_path):
    rows = (*ROWS, SyntheticRow("best", "best (ours)", Regime.TRANSDUCTIVE, place=2.0))
    results = write_results(tmp_path / "run", rows=rows)
    view = View(results)
    assert view.regimes("landcover") == [Regime.INDUCTIVE, Regime.TRANSDUCTIVE]
    table = table_of(view, "landcover", Regime.TRANSDUCTIVE, Measure.FUSED)
    assert [line.row for line in table.lines] == ["image", "sup-grid", "best"]
    runs = [r for r in results.runs if (r.row, r.regime, r.shot) == ("best", "transductive", "5 %")]
    hits = [results.answers(run, Measure.FUSED).hits(1).mean() for run in runs]
    assert table.lines[-1].entries[1].mean == pytest.approx(np.mean(hits))


def test_names_are_escaped(tmp_path):
    label = r"50 % & _best_ | #1 $x$ {a}\b <i> ^~"
    rows = (ROWS[1], SyntheticRow("odd", label))
    results = write_results(tmp_path / "run", rows=rows)
    markdown, latex = (path.read_text() for path in write_tables(results, tmp_path))
    assert r"50 % &amp; \_best\_ \| \#1 \$x\$ \{a\}\\b &lt;i&gt; ^\~" in markdown
    assert (
        r"50 \% \& \_best\_ \textbar{} \#1 \$x\$ \{a\}\textbackslash{}b \textless{}i\textgreater{} "
        r"\textasciicircum{}\textasciitilde{}" in latex
    )
    for line in markdown.splitlines():
        if line.startswith("|"):
            assert len(re.findall(r"(?<!\\)\|", line)) == 5


def test_every_latex_table_is_whole(results, tmp_path):
    _, latex = write_tables(results, tmp_path)
    text = latex.read_text()
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == 4
    for row in re.findall(r"(?<=\n)[^\n]+(?= \\\\\n)", text):
        assert row.count("&") == 3
    plain = re.sub(r"\\[{}%&$#_]", "", text)
    assert plain.count("{") == plain.count("}")
    assert plain.count("$") % 2 == 0


def test_text_for_latex_stays_in_one_line():
    assert escape_latex("a\n\nb\t100 %") == r"a b 100 \%"


def test_a_results_file_without_cells_gives_empty_tables(tmp_path):
    results = write_results(tmp_path / "run", points=60)
    results.facts["table"], results.facts["comparisons"] = [], []
    markdown, latex = write_tables(results, tmp_path)
    assert "###" not in markdown.read_text()
    assert r"\begin" not in latex.read_text()
