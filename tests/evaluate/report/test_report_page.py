import json
import re
from itertools import pairwise

import numpy as np
import pytest
from report_pages import Page
from synthetic_results import ROWS, write_results

from geocsp.evaluate.report import write_report
from geocsp.evaluate.report.metrics import Metric
from geocsp.evaluate.results import Measure


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    results = write_results(folder / "run")
    return results, write_report(results, folder / "out")


@pytest.fixture(scope="module")
def page(written):
    return Page(written[1])


def test_the_page_needs_no_other_file(page):
    assert not page.all("script")
    assert not page.all("link")
    assert not page.all("iframe")
    for image in page.all("img"):
        assert image["src"].startswith("data:image/png;base64,")
    for link in page.all("a"):
        assert re.fullmatch(r"#[\w-]+|classes/landcover/\d+\.html", link["href"])
    assert not re.search(r"https?://|url\(|@import", page.text)


def test_links_lead_somewhere(page, written):
    anchors = {attributes["id"] for _, attributes in page.elements if "id" in attributes}
    for link in page.all("a"):
        target = link["href"]
        assert target[1:] in anchors if target[0] == "#" else (written[1].parent / target).is_file()


def test_the_page_can_be_read_aloud(page):
    assert page.all("html")[0]["lang"] == "en"
    assert len(page.all("h1")) == len(page.all("main")) == 1
    assert page.all("img")
    assert all(len(image["alt"]) > 40 for image in page.all("img"))
    assert len(page.all("figcaption")) == len(page.all("figure")) == len(page.all("img"))
    assert len(page.all("caption")) == len(page.all("table"))
    assert all(head["scope"] in ("col", "row") for head in page.all("th"))
    regions = [a for a in page.all("div") if a.get("role") == "region"]
    assert len(regions) == len(page.all("table"))
    assert all(a["tabindex"] == "0" and a["aria-label"] for a in regions)
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h\d", tag)]
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_every_figure_carries_its_settings(page):
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", page.text, re.S)
    for caption in captions:
        for part in ("task landcover", "folds 1, 2", "seeds 0, 1", "0123456789ab", "0.0.test"):
            assert part in caption
        assert re.search(r"labels (3 per class|5 %)", caption)
        assert re.search(r"all rows|rows? best \(ours\)", caption)


def test_top1_tables_hold_what_the_answers_say(page, written):
    results, _ = written
    table = next(
        t
        for t in page.tables
        if t[0][0] == "Top-1, %"
        and t[-1][0] == "best (ours)"
        and len(t) == 5
        and t[4][2] != t[1][2]
    )
    runs = [r for r in results.runs if (r.row, r.shot) == ("best", "5 %")]
    mean = np.mean([results.answers(run, Measure.FUSED).hits(1).mean() for run in runs])
    assert table[4][2].startswith(Metric.TOP1.text(mean))
    assert "significantly better than the baseline row" in table[4][2]


def test_all_metrics_times_and_sizes_are_there(page):
    metrics = next(t for t in page.tables if t[0][:3] == ["row", "labels", "Top-1, %"])
    assert metrics[0][2:] == [metric.heading for metric in Metric]
    assert len(metrics) == 1 + 4 * 3
    cost = next(t for t in page.tables if "weights" in t[0])
    assert cost[1][2:] == ["0", "0.0 s", "2.5 s"]
    assert cost[4][2:] == ["123,456", "1 min 15 s", "2.5 s"]


def test_the_summary_comes_first(page):
    first = page.shown.index("is highest with")
    assert first < page.shown.index("Top-1, %")
    assert re.search(
        r"3 per class \(10 labels\): best \(ours\) \([\w ,]+\) is highest with [\d.]+ % "
        r"\(95 % interval [\d.]+ to [\d.]+\)\. That is [\d.]+ points above the baseline row, "
        r"Sup.Only \(grid\) \([\w ,]+\): significant \(p < 0.001, better on 4 of 4 folds\)\.",
        page.shown,
    )


def test_details_hold_settings_and_versions(page):
    details = json.loads(re.search(r"(\{ \"settings\".*\})", page.shown)[1])
    assert details["versions"] == {"geocsp": "0.0.test", "numpy": "2"}
    assert details["data"]["fingerprint"] == "0123456789abcdef"


def test_a_class_has_a_page_of_its_own(written):
    results, report = written
    path = report.parent / "classes/landcover/3.html"
    page = Page(path)
    assert page.all("a")[0]["href"] == "../../report.html"
    assert (path.parent / page.all("a")[0]["href"]).resolve() == report.resolve()
    assert not re.search(r"https?://", page.text)
    assert "Class 3 of landcover" in page.shown
    accuracy, *confusions = page.tables
    assert [row[0] for row in accuracy[1:]] == [row.label + row.name for row in ROWS]
    taken = []
    for run in results.runs:
        if (run.row, run.shot) == ("best", "5 %"):
            said = results.answers(run, Measure.GUARDED)
            taken += said.predicted[said.labels == 3].tolist()
    assert accuracy[4][-1].startswith(Metric.TOP1.text(taken.count(3) / len(taken)))
    for name, share, right in confusions[0][1:]:
        number = results.facts["data"]["tasks"]["landcover"].index(name)
        assert share == Metric.TOP1.text(taken.count(number) / len(taken))
        assert (right == "right") == (number == 3)
