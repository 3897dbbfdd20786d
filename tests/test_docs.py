import re
import shutil
import subprocess
import sys

import nbformat
import pytest
from docs_pages import DOCS, PAGES, ROOT, SHOWN, blocks, photographed, published, run, scored
from nbclient import NotebookClient

from geocsp.cli import VERBS

NOTEBOOKS = sorted((DOCS / "notebooks").glob("*.ipynb"))
QUICK_START = DOCS / "quickstart.md"


@pytest.fixture(scope="session")
def caches(tmp_path_factory):
    """Caches of this session alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def started(tmp_path_factory, caches):
    """A folder of photos after the quick start, whose page is run here; and what that printed."""
    folder = tmp_path_factory.mktemp("docs") / "started"
    folder.mkdir()
    photographed(folder, each=30)
    published(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        namespace = {}
        said = [run(block, namespace) for block in blocks(QUICK_START) if is_run(block)]
    scored(folder)
    return folder, said


def is_run(block):
    return block.language not in SHOWN and block.why is None


def name(page):
    return str(page.relative_to(DOCS))


def test_the_quick_start_does_what_it_says(started):
    folder, said = started
    assert all(text.strip() for text in said)
    assert "accuracy on" in said[3]
    for made in ("predictions.csv", "map.png", "runs/classifier/model.safetensors"):
        assert (folder / made).exists()
    assert len((folder / "predictions.csv").read_text().splitlines()) == 121


@pytest.mark.parametrize(
    "page",
    [p for p in PAGES if p != QUICK_START and any(is_run(b) for b in blocks(p))],
    ids=name,
)
def test_the_blocks_of_a_page_run_one_after_the_other(page, started, tmp_path, monkeypatch):
    folder = tmp_path / "here"
    shutil.copytree(started[0], folder)
    monkeypatch.chdir(folder)
    namespace, said = {}, ""
    for block in blocks(page):
        if is_run(block):
            said += run(block, namespace)
    assert said.strip()


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=lambda page: page.name)
def test_every_block_is_run_or_says_why_not(page):
    text = page.read_text(encoding="utf-8")
    found = blocks(page)
    assert len(re.findall(r"^\s*(```|~~~)", text, re.MULTILINE)) == 2 * len(found)
    assert len(re.findall("<!-- not run", text)) == sum(b.why is not None for b in found)
    for block in found:
        assert block.language in ("python", "bash", *SHOWN), block.language
        assert block.language != "python" or block.why is None, "Python always runs"


def test_most_blocks_are_run():
    every = [block for page in PAGES for block in blocks(page) if block.language not in SHOWN]
    assert sum(is_run(block) for block in every) > 0.7 * len(every)


def test_every_verb_is_on_the_first_page():
    listed = (DOCS / "index.md").read_text()
    table = listed[listed.index("| verb |") :]
    words = set(re.findall(r"`(?:geocsp )?([a-z]+)`", table))
    assert words == set(VERBS)


def test_the_site_is_built_without_a_warning_and_needs_no_network(tmp_path):
    site = tmp_path / "site"
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(site)]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    pages = list(site.rglob("*.html"))
    assert len(pages) > len(PAGES)
    for page in pages:
        loaded = re.findall(
            r"<(?:script|img|iframe|source)\b[^>]*\ssrc=[\"']?([^\"'\s>]+)"
            r"|<link\b(?=[^>]*rel=[\"']?(?:stylesheet|preload|icon|preconnect))"
            r"[^>]*\shref=[\"']?([^\"'\s>]+)",
            page.read_text(encoding="utf-8"),
        )
        far = [a or b for a, b in loaded if re.match(r"(https?:)?//", a or b)]
        assert not far, (page, far)
    reference = (site / "reference" / "geocsp.html").read_text(encoding="utf-8")
    assert 'id="geocsp.fuse"' in reference
    assert ":func:" not in reference
    assert ":class:" not in reference


def test_the_reference_has_every_public_name():
    import geocsp

    text = (DOCS / "reference" / "geocsp.md").read_text()
    listed = set(re.findall(r"^::: geocsp\.(?:images\.extract\.)?(\w+)$", text, re.MULTILINE))
    assert listed == set(geocsp.__all__)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_notebooks_run_and_are_kept_without_outputs(path, started, tmp_path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert cells
    assert not any(cell.outputs or cell.execution_count for cell in cells)
    folder = tmp_path / "here"
    shutil.copytree(started[0], folder)
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(folder)}}).execute()
    assert any(cell.outputs for cell in cells)


def test_there_are_notebooks():
    assert len(NOTEBOOKS) >= 2
