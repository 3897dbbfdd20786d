import json
import shutil
import subprocess
import tarfile

import httpx
import pytest
from app_model import photo_bytes
from browsing import HOSTILE, browser, percent, visitor

__all__ = ["browser", "visitor"]  # fixtures

AXE = "axe-core@4.14.1"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


def point(shot, labels, mean):
    return {"shot": shot, "labels": labels, "mean": mean, "low": mean - 0.02, "high": mean + 0.02}


def curve(label, start):
    points = [point("10 per class", 80.0, start + 0.2), point("1 per class", 8.0, start)]
    return {"row": label, "label": label, "points": [*points, point("5 %", 300.0, start + 0.3)]}


REPORT = {
    "tasks": [
        {"task": "climate", "measure": "location", "curves": [curve("knn", 0.2)]},
        {"task": "climate", "measure": "product", "curves": [curve(HOSTILE, 0.3)]},
        {"task": "cover", "measure": "product", "curves": [curve("a", 0.1), curve("b", 0.4)]},
    ]
}


@pytest.fixture
def routes(visitor):
    info = httpx.get(f"{visitor.url}/api/info").json() | {"has_report": True}
    return {"**/api/info": info, "**/api/report": REPORT}


def test_the_report_is_charts_with_tables(visitor, routes):
    page = visitor.open("#tab=report", routes=routes)
    page.wait_for_selector(".plot svg")
    assert page.locator(".chart").count() == 2  # labels per class, and shares
    assert page.get_by_label("Judged by").input_value() == "product"
    page.get_by_label("Task").select_option("cover")
    chart = page.locator(".chart").first
    assert chart.locator(".keys li").all_text_contents() == ["a", "b"]
    chart.locator(".plot .dot").first.wait_for()
    titles = chart.locator(".plot .dot title").all_text_contents()
    assert titles[:2] == ["a, 1 per class: 10 %", "a, 10 per class: 30 %"]
    heights = [
        dot.evaluate("dot => dot.getBoundingClientRect().y")
        for dot in chart.locator(".plot .dot").all()
    ]
    lowest_first = [0.1, 0.3, 0.4, 0.6]
    share = [(heights[0] - y) / (heights[0] - heights[-1]) for y in heights]
    wanted = [(mean - 0.1) / 0.5 for mean in lowest_first]
    assert share == pytest.approx(wanted, abs=0.02)
    button = chart.get_by_role("button", name="Show as a table")
    button.click()
    rows = chart.locator("tbody tr")
    cells = rows.nth(1).locator("td").all_inner_texts()
    shown = [f"{percent(mean)}\n{percent(mean - 0.02)} to {percent(mean + 0.02)}"
             for mean in (0.4, 0.6)]  # fmt: skip
    assert [" ".join(cell.split()) for cell in cells] == [" ".join(one.split()) for one in shown]
    link = page.get_by_role("link", name="Full report")
    assert link.evaluate("link => link.href") == f"{visitor.url}/report/report.html"


def test_a_measure_that_a_task_lacks_is_said_and_labels_stay_text(visitor, routes):
    page = visitor.open("#tab=report", routes=routes)
    page.wait_for_selector(".plot svg")
    assert page.locator(".keys li").first.text_content() == HOSTILE
    page.get_by_label("Task").select_option("cover")
    page.get_by_label("Judged by").select_option("location")
    page.get_by_text("Not measured").wait_for()
    assert page.evaluate("window.hacked") is None


def test_without_an_evaluation_the_tab_says_how_to_get_one(visitor):
    page = visitor.open("#tab=report")
    page.get_by_text("Run geocsp evaluate").wait_for()
    assert visitor.asked("/api/report") == []


@pytest.fixture(scope="module")
def axe(tmp_path_factory):
    """Source of axe-core, from npm."""
    folder = tmp_path_factory.mktemp("axe")
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is missing: the page is not audited by axe-core")
    command = [npm, "pack", AXE, "--json", "--pack-destination", str(folder)]
    told = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if told.returncode:
        pytest.skip(f"{AXE} cannot be fetched: the page is not audited by it")
    with tarfile.open(folder / json.loads(told.stdout)[0]["filename"]) as archive:
        return archive.extractfile("package/axe.min.js").read().decode()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_to_mend(visitor, routes, axe, scheme):
    routes["**/api/info"]["card"] = "# A card\n\n| a | b |\n| --- | --- |\n| 1 | 2 |\n\n`code`"
    page = visitor.open("#place=20,20", routes=routes, script=axe, color_scheme=scheme)
    found = {"explore": _violations(page, ".bars li")}
    page.get_by_role("tab", name="Photos").click()
    photo = {"name": "a.jpg", "mimeType": "image/jpeg", "buffer": photo_bytes(4, lonlat=(9, 9))}
    page.locator("#files").set_input_files(photo)
    found["photos"] = _violations(page, ".versus")
    page.get_by_role("tab", name="Report").click()
    page.locator(".chart button").first.click()
    found["report"] = _violations(page, ".plot svg")
    page.get_by_role("tab", name="About").click()
    found["about"] = _violations(page, ".model-card table")
    assert found == {name: [] for name in found}


def _violations(page, selector):
    page.locator(selector).first.wait_for()
    return page.evaluate(
        """async (values) => (await axe.run({ runOnly: { type: "tag", values } })).violations
        .map(({ id, nodes }) => [id, nodes.map(({ target }) => target.join(" "))])""",
        RULES,
    )
