import json
import re

import pytest
from report_pages import Page
from synthetic_results import IMAGE, ROWS, SyntheticRow, write_results

from geocsp.errors import DataError
from geocsp.evaluate.report import ReportSettings, write_report
from geocsp.evaluate.results import PLACES_FILE, Measure, Regime, Results

FEW = {"points": 90, "rows": ROWS[1:3], "shots": ("5 %", "10 %")}
NO_PAGES = ReportSettings(class_pages=0)


def test_the_same_results_give_the_same_bytes(tmp_path):
    results = write_results(tmp_path / "run", **FEW)
    one, two = (
        write_report(Results.read(results.folder), tmp_path / name, ReportSettings(class_pages=1))
        for name in ("one", "two")
    )
    files = sorted(path.relative_to(one.parent) for path in one.parent.rglob("*.html"))
    assert [str(file) for file in files] == ["classes/landcover/0.html", "report.html"]
    for file in files:
        assert (one.parent / file).read_bytes() == (two.parent / file).read_bytes()


def test_names_cannot_act(tmp_path):
    evil = "<script>alert(1)</script>"
    plain = write_results(tmp_path / "plain", **FEW | {"rows": ROWS[2:]})
    text = (tmp_path / "plain" / "results.json").read_text()
    text = text.replace('"forest"', json.dumps(evil)).replace('"grassland"', '"$a_b$ & <b>\\" x"')
    text = text.replace('"best (ours)"', '"\\"><img src=x onerror=y>"').replace("0123456789", "<i>")
    (tmp_path / "plain" / "results.json").write_text(text)
    report = write_report(
        Results.read(plain.folder), tmp_path / "out", ReportSettings(class_pages=2)
    )
    for path in (report, *report.parent.rglob("classes/*/*.html")):
        page = Page(path)
        assert not page.all("script")
        assert not page.all("b")
        assert not page.all("i")
        assert all(set(image) == {"src", "alt"} for image in page.all("img"))
    assert evil in Page(report).shown


def test_pages_have_safe_names(tmp_path):
    tasks = (("cover", ("a", "b")), ("Cover", ("a", "b")), ("a b", ("a", "b")))
    results = write_results(tmp_path / "run", points=40, tasks=tasks, rows=ROWS[:1], shots=("5 %",))
    report = write_report(results, tmp_path / "out", ReportSettings(class_pages=1))
    folders = sorted(path.name for path in (report.parent / "classes").iterdir())
    assert folders == ["Cover-1", "a-b-2", "cover"]


def test_only_the_most_frequent_classes_get_a_page(tmp_path):
    results = write_results(tmp_path / "run", points=200, rows=ROWS[:1], shots=("5 %",))
    report = write_report(results, tmp_path / "out", ReportSettings(class_pages=2))
    pages = sorted(path.name for path in (report.parent / "classes/landcover").iterdir())
    assert pages == ["0.html", "1.html"]
    assert "Only the 2 most frequent of 5 classes with test images" in Page(report).shown
    none = write_report(results, tmp_path / "none", NO_PAGES)
    assert not (none.parent / "classes").exists()


def test_figures_show_the_row_and_labels_asked_for(tmp_path):
    results = write_results(tmp_path / "run", points=60)
    settings = ReportSettings(row="csp-mc-bld", shot="100 %", class_pages=0)
    page = Page(write_report(results, tmp_path / "out", settings))
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", page.text, re.S)
    chosen = [caption for caption in captions if "all rows" not in caption]
    assert chosen
    assert all("CSP-MC-BLD" in caption and "labels 100 %" in caption for caption in chosen)
    with pytest.raises(DataError, match="there is no row 'besst'; there are image, sup-grid"):
        write_report(results, tmp_path / "out", ReportSettings(row="besst"))
    with pytest.raises(DataError, match="there is no shot '7 %'"):
        write_report(results, tmp_path / "out", ReportSettings(shot="7 %"))
    with pytest.raises(DataError, match="class_pages must be at least 0, got -1"):
        ReportSettings(class_pages=-1)


@pytest.mark.parametrize(
    "changes",
    [
        {"rows": ROWS[:1], "baseline": "image"},
        {"folds": ("1",), "seeds": (0,)},
        {"placed": False},
        {"baseline": "gone", "shots": ("5 %",)},
        {"rows": (SyntheticRow("knn", "Prior (knn)", measures=(Measure.LOCATION,)),)},
        {"rows": (*ROWS[1:3], SyntheticRow("best", "best (ours)", Regime.TRANSDUCTIVE, 2.0))},
        {"tasks": (("one", ("only",)),), "window": (8.0, 46.0, 9.0, 47.0)},
    ],
    ids=[
        "images alone",
        "one run",
        "no places",
        "one amount and no baseline",
        "place alone",
        "both regimes",
        "one class in a small country",
    ],
)
def test_what_is_missing_is_left_out(changes, tmp_path):
    results = write_results(tmp_path / "run", **FEW | changes)
    page = Page(write_report(results, tmp_path / "out", NO_PAGES))
    assert "is highest with" in page.shown
    assert not re.search(r"\b(nan|None|undefined)\b", page.shown.split("Everything the")[0])
    maps = [image for image in page.all("img") if image["alt"].startswith("Map of")]
    assert bool(maps) == (
        results.facts["rows"].keys() != {"image"}
        and "placed" not in changes
        and "knn" not in results.facts["rows"]
    )


def test_metrics_and_comparisons_may_be_missing(tmp_path):
    results = write_results(tmp_path / "run", **FEW)
    results.facts["comparisons"] = []
    for cell in results.facts["table"]:
        for measure in IMAGE:
            del cell[measure]["nll"]
            cell[measure]["ece"] = {"mean": None, "low": None, "high": None, "runs": 0}
    page = Page(write_report(results, tmp_path / "out", NO_PAGES))
    assert "this was not tested" in page.shown
    metrics = next(t for t in page.tables if t[0][:3] == ["row", "labels", "Top-1, %"])
    assert metrics[1][-2:] == ["–", "–"]


def test_a_damaged_file_is_named(tmp_path):
    results = write_results(tmp_path / "run", points=60, rows=ROWS[:2])
    (results.folder / PLACES_FILE).write_bytes(b"no")
    with pytest.raises(DataError, match=r"places\.npz is missing or damaged"):
        write_report(results, tmp_path / "out")
