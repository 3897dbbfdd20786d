"""The example page in a real browser, with what npm brings. Skipped where one is missing."""

import re
import shutil
import subprocess
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from small_models import HARD, places

import geocsp
from geocsp.export import Part, export_onnx

EXAMPLE = Path(__file__).parents[2] / "examples" / "browser"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
playwright = pytest.importorskip("playwright.sync_api")
if CHROMIUM is None or shutil.which("npm") is None:
    pytest.skip("chromium and npm are needed for the example page", allow_module_level=True)


def model():
    torch.manual_seed(0)
    return geocsp.create("location", "space2vec-grid", dim=16, frequencies=16, hidden=32).eval()


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Address of the page, served with its model and its packages."""
    folder = tmp_path_factory.mktemp("site")
    for name in ("index.html", "package.json", "package-lock.json"):
        shutil.copy(EXAMPLE / name, folder)
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    npm = subprocess.run(
        [*command, "--fetch-retries=0"], cwd=folder, capture_output=True, text=True, check=False
    )
    if npm.returncode:
        pytest.skip(f"npm cannot fetch onnxruntime-web: {npm.stderr[-300:]}")
    export_onnx(model(), folder / "location.onnx", Part.LOCATION)
    handler = type("Quiet", (SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/index.html"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def page(site):
    home = site.removesuffix("index.html")

    def ours(url):
        return url.startswith((home, "blob:", "data:"))

    with playwright.sync_playwright() as run:
        browser = run.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        page.errors = []
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        page.on("request", lambda asked: ours(asked.url) or page.errors.append(asked.url))
        page.goto(site)
        page.wait_for_selector("#alike li", timeout=60_000)
        yield page
        browser.close()


def expected(where):
    return torch.nn.functional.normalize(model().embed(where), dim=1)


def test_embeddings_are_those_of_pytorch(page):
    where = places(50)
    found = page.evaluate("rows => embed(rows).then(v => v.map(x => [...x]))", where.tolist())
    assert len(found) == 50 + len(HARD)
    torch.testing.assert_close(torch.tensor(found), expected(where), atol=1e-5, rtol=1e-5)


def test_the_list_has_the_most_similar_places(page):
    listed = page.evaluate("[...document.querySelectorAll('#alike li')].map(x => x.textContent)")
    lonlat = {"London": (-0.13, 51.51), "Sydney": (151.21, -33.87), "Denver": (-104.99, 39.74)}
    cosines = (
        expected(torch.tensor(list(lonlat.values()))) @ expected(torch.tensor([[2.35, 48.86]])).T
    )
    shown = {re.split(r" -?\d\.", row)[0]: float(row.split()[-1]) for row in listed}
    assert len(listed) == 5
    assert list(shown.values()) == sorted(shown.values(), reverse=True)
    for name, cosine in zip(lonlat, cosines[:, 0].tolist(), strict=True):
        if name in shown:
            assert shown[name] == pytest.approx(cosine, abs=1e-3)
        else:
            assert cosine <= min(shown.values()) + 1e-3


def test_a_click_on_the_world_and_a_typed_place(page):
    box = page.locator("#world").bounding_box()
    page.mouse.click(box["x"] + 0.75 * box["width"], box["y"] + 0.25 * box["height"])
    page.wait_for_function("document.getElementById('status').textContent.includes('90')")
    assert float(page.input_value("#lon")) == pytest.approx(90, abs=1)
    assert float(page.input_value("#lat")) == pytest.approx(45, abs=1)
    page.fill("#lon", "139.69")
    page.fill("#lat", "35.69")
    page.press("#lat", "Enter")
    page.wait_for_function("document.querySelector('#alike li').textContent.startsWith('Tokyo')")
    assert "1.000" in page.text_content("#alike li")
    assert page.errors == []


def test_the_page_is_short():
    assert len((EXAMPLE / "index.html").read_text().splitlines()) <= 60
