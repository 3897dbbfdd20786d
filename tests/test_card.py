import json
import re
from dataclasses import replace

import pytest
import torch
import yaml

import geocsp
from geocsp import GeoModel, GeoPrior
from geocsp.card import Coverage, Metric, ModelCard, TrainingData, card_of_report, card_of_run
from geocsp.card_page import card_page, plain
from geocsp.classifier import GeoClassifier
from geocsp.errors import DataError
from geocsp.train.finetune import ImageHead
from geocsp.train.folder import RunReport

NAMES = ("oak", "pine", "elm")


def encoder():
    return geocsp.create("location", "space2vec-grid", dim=6, frequencies=4, hidden=8).eval()


def prior(names=NAMES):
    return GeoPrior(encoder(), names)


def classifier():
    head = ImageHead(torch.zeros(7), torch.ones(7), torch.nn.Linear(7, 3))
    return GeoClassifier(GeoModel(encoder(), 7), prior(), head).eval()


FULL = ModelCard(
    title="Trees of Fiji",
    license="cc-by-4.0",
    data=TrainingData("Fiji trees", "cc0-1.0", "abc123", 1200, 34, 120),
    coverage=Coverage(1200, (176.5, -19.0, 181.25, -12.0), 4, {"oak": 30, "pine": 4, "elm": 0}),
    metrics=(Metric("top-1 accuracy", 0.625, "test fold 1"), Metric("ECE", 0.04)),
    image_encoder="efficientnet-lite0, 64 pixels",
    intended_use="Plant surveys.",
    limits=("Never seen in winter.",),
    notes="Ask *us*.",
    settings={"seed": 3, "image": {"encoder": "efficientnet-lite0"}},
    seed=3,
    versions={"geocsp": "0.1.0"},
)


def front_matter(page):
    return yaml.safe_load(page.split("---\n")[1])


def test_everything_that_is_known_is_on_the_page():
    page = card_page(FULL, classifier(), "f" * 64)
    for text in (
        "# Trees of Fiji",
        "- Name: Fiji trees",
        "- License: cc0-1.0",
        "- Fingerprint: abc123",
        "- Images or places: 1,200",
        "- Labels used: 34",
        "- Held out: 120",
        "| top-1 accuracy | test fold 1 | 0.625 |",
        "| ECE | not known | 0.04 |",
        "longitude 176.5 to 181.25 (over the antimeridian), latitude -19 to -12",
        "4 of 648",
        "0 / 4 / 30 (least / median / most); classes without any: 1.",
        "| oak | 30 |",
        "Plant surveys.",
        "- Never seen in winter.",
        "Ask *us*.",
        "- Image features: efficientnet-lite0, 64 pixels",
        "- Classes: 3",
        "- Seed: 3",
        f"`{'f' * 64}`",
        "      encoder: efficientnet-lite0",
    ):
        assert text in page
    found = front_matter(page)
    assert found["license"] == "cc-by-4.0"
    assert found["library_name"] == "geocsp"
    assert found["pipeline_tag"] == "image-classification"


def test_what_is_not_known_is_said_and_not_made_up():
    page = card_page(ModelCard(), prior(), "")
    assert front_matter(page)["license"] == "unknown"
    assert "model-index" not in front_matter(page)
    assert page.count("not known") >= 12
    assert "None known." in page
    assert "Classes: oak, pine, elm." in page


def test_the_hub_reads_the_front_matter():
    hub = pytest.importorskip("huggingface_hub")
    data = hub.ModelCard(card_page(FULL, classifier(), "")).data
    assert data.license == "cc-by-4.0"
    assert data.library_name == "geocsp"
    results = [(r.metric_name, r.metric_value, r.dataset_name) for r in data.eval_results]
    assert results == [
        ("top-1 accuracy", 0.625, "test fold 1"),
        ("ECE", 0.04, "Fiji trees"),
    ]


@pytest.mark.parametrize("make", [encoder, prior, classifier, lambda: GeoModel(encoder(), 7)])
def test_the_code_on_the_page_works_in_the_folder(tmp_path, make, monkeypatch, capsys):
    folder = make().save_pretrained(tmp_path, FULL)
    (code,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    monkeypatch.chdir(folder)
    exec(code, {})
    printed = capsys.readouterr().out
    assert "torch.Size([1, 6])" in printed
    assert ("oak" in printed) == hasattr(make(), "class_names")


@pytest.mark.parametrize(
    "text", ["---\nlicense: mit", "a | b", "<script>alert(1)</script>", "[x](http://y)", "`rm`"]
)
def test_texts_of_others_cannot_leave_their_line(text):
    card = replace(FULL, title=text, license=text, data=TrainingData(text, text))
    card = replace(card, limits=(text,), metrics=(Metric(text, 1.0, text),))
    page = card_page(card, prior((text, "b", "c")), "")
    assert front_matter(page)["license"] == " ".join(text.split())
    assert set(front_matter(page)) == {"library_name", "license", "tags", "model-index"}
    body = page.split("\n---\n", 1)[1]
    assert "<script>" not in body
    assert not re.search(r"(?<!\\)\]\(http", body)
    assert "\nlicense: mit" not in body
    assert f"# {plain(text)}\n" in body


def test_many_classes_are_cut():
    names = tuple(f"class {i}" for i in range(500))
    page = card_page(ModelCard(), prior(names), "")
    assert "class 39 and 460 more" in page
    counted = ModelCard(coverage=Coverage(labelled={name: i for i, name in enumerate(names)}))
    page = card_page(counted, prior(names), "")
    assert "| class 499 | 499 |" in page
    assert "| class 459 |" not in page
    assert "0 / 249.5 / 499" in page


def test_coverage_counts_places_cells_and_labels():
    lonlat = torch.tensor(
        [[179.5, 1.0], [-179.5, 1.0], [179.6, 1.1], [175.0, -89.9], [180.0, 90.0], [torch.nan, 0]]
    )
    labels = torch.tensor([0, 0, 2, -1, -1, -1])
    seen = Coverage.of(lonlat, labels, NAMES)
    assert seen.places == 5
    assert seen.extent == pytest.approx((175.0, -89.9, 180.5, 90.0), abs=1e-4)
    assert seen.cells == 4
    assert seen.labelled == {"oak": 2, "pine": 0, "elm": 1}


def test_coverage_of_the_whole_world_and_of_nothing():
    world = geocsp.coords.sample_sphere(50_000, torch.Generator().manual_seed(0))
    assert Coverage.of(world).cells == 648
    assert Coverage.of(torch.full((3, 2), torch.nan)) == Coverage(places=0)
    assert Coverage.of(torch.zeros(0, 2)) == Coverage(places=0)


def test_cells_are_of_equal_area():
    world = geocsp.coords.sample_sphere(4000, torch.Generator().manual_seed(0))
    seen = {Coverage.of(world[i : i + 400]).cells for i in range(0, 4000, 400)}
    expected = 648 * (1 - (1 - 1 / 648) ** 400)
    assert all(abs(cells - expected) < 30 for cells in seen)


def test_a_card_keeps_what_the_model_came_with():
    model = prior()
    model.card = FULL
    card = ModelCard.of(model, license="mit", seed=None)
    assert card == replace(FULL, license="mit", seed=None)
    assert ModelCard.of(prior()).versions["geocsp"] == geocsp.__version__


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_metrics_are_finite(value):
    with pytest.raises(ValueError, match="finite"):
        Metric("loss", value)


def test_a_run_fills_the_card(tmp_path):
    report = RunReport(
        finished=True,
        metrics={"loss": 1.5, "gap": float("inf")},
        images=100,
        held_out=10,
        seed=4,
        data="fingerprint",
        versions={"torch": "2"},
        settings={
            "image": {"encoder": "moco:x", "weights": "/home/me/x.pth", "pixels": 64},
            "files": ["/home/me/a", "b/c"],
        },
    )
    report.write(tmp_path)
    card = card_of_run(tmp_path)
    assert card == card_of_report(report)
    assert card.data == TrainingData(fingerprint="fingerprint", images=100, held_out=10)
    assert card.metrics == (Metric("loss", 1.5, "training run"),)
    assert card.image_encoder == "moco:x, 64 pixels"
    assert (card.seed, card.versions) == (4, {"torch": "2"})
    assert card.settings["image"]["weights"] == "x.pth"
    assert card.settings["files"] == ["a", "b/c"]
    loaded = GeoPrior.from_pretrained(prior().save_pretrained(tmp_path / "model", card))
    assert loaded.card == card


def test_a_folder_without_a_run_is_told(tmp_path):
    with pytest.raises(DataError, match=r"run\.json"):
        card_of_run(tmp_path)
    (tmp_path / "run.json").write_text(json.dumps({"images": "many"}))
    with pytest.raises(DataError, match="images"):
        card_of_run(tmp_path)
