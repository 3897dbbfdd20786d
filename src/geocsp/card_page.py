"""A model card as ``README.md``, in the format of the Hugging Face hub."""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterable
from typing import Any

import yaml

from geocsp.card import ModelCard

LIBRARY = "geocsp"
UNKNOWN = "not known"
_MOST_CLASSES = 40
_WHAT = {
    "LocationEncoder": "A location encoder: it turns places on Earth into embeddings.",
    "GeoModel": "Images and places in one embedding space: an image tower and a location tower "
    "that were trained to agree on which image was taken where.",
    "GeoPrior": "A location prior: how likely each class is to be present at a place, each class "
    "on its own.",
    "LinearPrior": "A location prior: which of its classes a place shows, as one distribution "
    "over the classes.",
    "GeoClassifier": "An image classifier that also asks where the image was taken: an image "
    "head, a location prior and their calibrated fusion.",
}
_USE = {
    "LocationEncoder": "Features of places for other models, maps and search for similar places.",
    "GeoModel": "Features of places and of images for other models, search for images by place "
    "and for places by image.",
    "GeoPrior": "Sharpening an image classifier's answers by where the image was taken, and maps "
    "of where a class is to be expected.",
    "LinearPrior": "Sharpening an image classifier's answers by where the image was taken, and "
    "maps of where a class is to be expected.",
    "GeoClassifier": "Classifying images of the classes listed here; without a place it answers "
    "by the image alone.",
}
_LIMITS = (
    "Far from its training places the answers are extrapolation.",
    "Training places lie where people took images, and the model carries that bias; what is rarely "
    "photographed is rarely predicted.",
)
_CLASS_LIMITS = (
    "A probability says what was photographed at places like these, not what is there.",
    "It answers with a class that it knows, also where it should say none.",
)


def card_page(card: ModelCard, model: Any, fingerprint: str) -> str:
    """The whole ``README.md``: YAML front matter, then Markdown.

    Args:
        card: what is known.
        model: the model of the card.
        fingerprint: SHA-256 of its file of weights.
    """
    sections = (
        f"# {plain(card.title) or model.kind}\n\n{_what(card, model)}",
        f"## Training data\n\n{_data(card)}",
        f"## Metrics\n\n{_metrics(card)}",
        f"## Coverage\n\n{_coverage(card, model)}",
        f"## Intended use and limits\n\n{_use(card, model)}",
        f"## How to load it\n\n{_loading(model)}",
        f"## Versions\n\n{_versions(card, fingerprint)}",
        f"## Notes\n\n{card.notes.strip()}" if card.notes.strip() else "",
    )
    body = "\n\n".join(filter(None, sections))
    return f"---\n{_front_matter(card, model)}---\n\n{body}\n"


def plain(text: str) -> str:
    """A text of unknown origin as one line of Markdown that is only text."""
    return re.sub(r"([\\`*_{}\[\]<>#|~])", r"\\\1", _one_line(text))


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _front_matter(card: ModelCard, model: Any) -> str:
    values: dict[str, Any] = {
        "library_name": LIBRARY,
        "license": _one_line(card.license) or "unknown",
        "tags": [LIBRARY, "geospatial", "location-encoder", model.kind],
    }
    if model.kind == "GeoClassifier":
        values["pipeline_tag"] = "image-classification"
    if card.metrics:
        values["model-index"] = [_results(card, model)]
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def _results(card: ModelCard, model: Any) -> dict[str, Any]:
    """Metrics as the hub reads them."""
    results = [
        {
            "task": {"type": "image-classification" if _has_classes(model) else "other"},
            "dataset": {
                "type": "other",
                "name": _one_line(metric.data or card.data.name) or UNKNOWN,
            },
            "metrics": [
                {
                    "type": _one_line(metric.name),
                    "name": _one_line(metric.name),
                    "value": metric.value,
                }
            ],
        }
        for metric in card.metrics
    ]
    return {"name": _one_line(card.title) or model.kind, "results": results}


def _what(card: ModelCard, model: Any) -> str:
    config = model.config()
    recipe = config.get("location") or config.get("geo_model", {}).get("location", {})
    facts = {
        "Kind": f"`{model.kind}`",
        "Location encoder": plain(recipe.get("name", "")),
        **({"Image features": _image_features(card, model)} if _has_images(model) else {}),
        "Classes": f"{len(model.class_names):,}" if _has_classes(model) else "none",
        "Parameters": f"{sum(p.numel() for p in model.parameters()):,}",
        "License": plain(card.license),
    }
    what = _WHAT.get(model.kind, "A part of a model.")
    return f"{what} Made with geocsp.\n\n{_list(facts)}"


def _image_features(card: ModelCard, model: Any) -> str:
    whole = model.model if model.kind == "GeoClassifier" else model
    recipe = getattr(whole.image, "recipe", {"name": ""})
    return plain(card.image_encoder or recipe["name"])


def _data(card: ModelCard) -> str:
    data = card.data
    return _list(
        {
            "Name": plain(data.name),
            "License": plain(data.license),
            "Fingerprint": plain(data.fingerprint),
            "Images or places": _count(data.images),
            "Labels used": _count(data.labels),
            "Held out": _count(data.held_out),
        }
    )


def _metrics(card: ModelCard) -> str:
    if not card.metrics:
        return "None known."
    rows = ((plain(m.name), plain(m.data) or UNKNOWN, f"{m.value:.6g}") for m in card.metrics)
    return _table(("metric", "measured on", "value"), rows)


def _coverage(card: ModelCard, model: Any) -> str:
    seen = card.coverage
    box = "" if seen.extent is None else _box(*seen.extent)
    facts = {
        "Training places": _count(seen.places),
        "Extent": box,
        "Cells of equal area with a place": "" if seen.cells is None else f"{seen.cells} of 648",
    }
    if not _has_classes(model):
        return _list(facts)
    return f"{_list(facts)}\n\n{_classes(seen.labelled, model.class_names)}"


def _box(west: float, south: float, east: float, north: float) -> str:
    over = " (over the antimeridian)" if east > 180 else ""
    return f"longitude {west:.6g} to {east:.6g}{over}, latitude {south:.6g} to {north:.6g}"


def _classes(labelled: dict[str, int], class_names: tuple[str, ...]) -> str:
    if not labelled:
        names = ", ".join(map(plain, class_names[:_MOST_CLASSES]))
        more = f" and {len(class_names) - _MOST_CLASSES:,} more in `config.json`"
        rest = more if len(class_names) > _MOST_CLASSES else ""
        return f"Labelled images of each class: {UNKNOWN}. Classes: {names}{rest}."
    counts = sorted(labelled.values())
    said = (
        f"Labelled images of each class: {counts[0]:,} / {statistics.median(counts):,.10g} / "
        f"{counts[-1]:,} (least / median / most); classes without any: {counts.count(0):,}."
    )
    ranked = sorted(labelled.items(), key=lambda item: -item[1])
    title = "class" if len(ranked) <= _MOST_CLASSES else f"class (the first {_MOST_CLASSES})"
    rows = ((plain(name), f"{count:,}") for name, count in ranked[:_MOST_CLASSES])
    return f"{said}\n\n{_table((title, 'labelled images'), rows)}"


def _use(card: ModelCard, model: Any) -> str:
    uses = (_USE.get(model.kind, ""), plain(card.intended_use))
    usual = _LIMITS + (_CLASS_LIMITS if _has_classes(model) else ())
    limits = "\n".join(f"- {limit}" for limit in (*usual, *map(plain, card.limits)))
    return f"{' '.join(filter(None, uses))}\n\n{limits}"


def _loading(model: Any) -> str:
    if model.kind not in _WHAT:
        kind = type(model)
        lines = [f"from {kind.__module__} import {kind.__name__}", "", "folder = '.'"]
        return _python([*lines, f"model = {kind.__name__}.from_pretrained(folder)"])
    lines = [
        "import torch",
        "from geocsp.models import load",
        "",
        'model = load(".")  # this folder, or hf://owner/name@revision',
        "lonlat = torch.tensor([[2.35, 48.86]])  # degrees, longitude first",
        "print(model.embed(lonlat).shape)",
    ]
    if _has_classes(model):
        lines += [
            "likely = model.class_probabilities(lonlat)[0].topk(min(3, len(model.class_names)))",
            "print([model.class_names[i] for i in likely.indices.tolist()])",
        ]
    if model.kind == "GeoClassifier":
        lines += ["# model.probabilities(images, lonlat) also looks at images or their features"]
    return _python(lines)


def _python(lines: Iterable[str]) -> str:
    return "\n".join(["```bash", "pip install geocsp", "```", "", "```python", *lines, "```"])


def _versions(card: ModelCard, fingerprint: str) -> str:
    versions = {plain(name): plain(number) for name, number in card.versions.items()}
    seed = UNKNOWN if card.seed is None else str(card.seed)
    facts = _list(versions | {"Seed": seed, "SHA-256 of model.safetensors": f"`{fingerprint}`"})
    if not card.settings:
        return f"{facts}\n- Training settings: {UNKNOWN}"
    settings = yaml.safe_dump(card.settings, sort_keys=False, allow_unicode=True)
    block = "".join(f"    {line}\n" for line in settings.splitlines())
    return f"{facts}\n\nTraining settings:\n\n{block}"


def _list(facts: dict[str, str]) -> str:
    return "\n".join(f"- {name}: {value or UNKNOWN}" for name, value in facts.items())


def _table(titles: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = (titles, ("---",) * len(titles), *rows)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _count(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


def _has_classes(model: Any) -> bool:
    """Whether a model knows classes."""
    return bool(getattr(model, "class_names", ()))


def _has_images(model: Any) -> bool:
    """Whether a model has an image side."""
    return model.kind in ("GeoModel", "GeoClassifier")
