"""A real browser without a window, and pages in it whose misbehaviour fails the test."""

import io
import re
import shutil
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

playwright = pytest.importorskip(
    "playwright.sync_api", reason="playwright is missing: the page is not tried in a browser"
)
CHROMIUM = shutil.which("chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--enable-unsafe-swiftshader",
    "--use-gl=angle",
    "--use-angle=swiftshader",
]
VIEWPORT = {"width": 1000, "height": 700}
PATIENCE_MS = 45_000
HOSTILE = '<img src=x onerror="window.hacked=1">&amp;{z}'
NO_WEBGL = """
const original = HTMLCanvasElement.prototype.getContext;
HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {
  return kind.startsWith("webgl") ? null : original.call(this, kind, ...rest);
};
"""


class Visitor:
    """Opens pages of the app and notes what they do wrong."""

    def __init__(self, browser, url):
        self.browser, self.url = browser, url
        self.errors, self.requests = [], []
        self._contexts = []

    def page(self, routes=None, script=None, **options):
        """A page not yet at the app; routes are {pattern: JSON, or function of the route}."""
        settings = {"viewport": VIEWPORT, "reduced_motion": "reduce"} | options
        context = self.browser.new_context(**settings)
        self._contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", self._listen)
        page.on("request", lambda request: self.requests.append(request.url))
        for pattern, answer in (routes or {}).items():
            page.route(pattern, _answering(answer))
        if script:
            page.add_init_script(script)
        return page

    def open(self, address="", *, ready=True, **options):
        """A page of the app, by default after its map is drawn."""
        page = self.page(**options)
        page.goto(f"{self.url}/{address}")
        if ready:
            page.wait_for_selector("html[data-ready=map]")
        return page

    def asked(self, part):
        """Requests so far that hold a text."""
        return [url for url in self.requests if part in url]

    def close(self):
        for context in self._contexts:
            context.close()
        own = urlsplit(self.url).netloc
        foreign = [url for url in self.requests if urlsplit(url).netloc not in (own, "")]
        assert foreign == []
        assert self.errors == []

    def _listen(self, message):
        # a refused request is told by the browser, too; the tests of refusals look at the page
        if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
            self.errors.append(message.text)


def _answering(answer):
    if callable(answer):
        return answer
    return lambda route: route.fulfill(json=answer)


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("chromium is missing: the page is not tried in a browser")
    with playwright.sync_playwright() as started:
        found = started.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield found
        found.close()


@pytest.fixture
def visitor(browser, app_url):
    found = Visitor(browser, app_url)
    yield found
    found.close()


def until(page, expression):
    """Wait for JavaScript to be true; the page's own wait would need eval, which it forbids."""
    for _ in range(PATIENCE_MS // 50):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"never true: {expression}")


def place_of(page):
    """[lon, lat] in the page's address."""
    return [float(value) for value in re.search(r"place=([-\d.,]+)", page.url)[1].split(",")]


def ranking(locator):
    """(name, shown percentage) of a list of bars."""
    names = locator.locator(".name").all_text_contents()
    return list(zip(names, locator.locator(".value").all_text_contents(), strict=True))


def percent(share):
    value = 100 * share
    if value == 0:
        return "0 %"
    if value < 0.1:
        return "< 0.1 %"
    return f"{value:.1f} %" if value < 9.95 else f"{value:.0f} %"


def as_shown(classes):
    return [(one["name"], percent(one["probability"])) for one in classes]


def colours_in(page, selector):
    """Number of distinct colours of an element on the screen, coarsely."""
    shot = page.locator(selector).screenshot()
    pixels = np.asarray(Image.open(io.BytesIO(shot)).convert("RGB")) // 16
    return len(np.unique(pixels.reshape(-1, 3), axis=0))
