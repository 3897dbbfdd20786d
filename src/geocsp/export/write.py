"""A part of a model as an ONNX file."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from geocsp.errors import DataError
from geocsp.export.checked import Difference, check
from geocsp.export.exact import translations
from geocsp.export.parts import (
    Part,
    Traced,
    default_part,
    geo_model_in,
    location_of,
    prior_in,
    trace,
)
from geocsp.files import write_atomically
from geocsp.images.libraries import library, one_line
from geocsp.models import LocationModel, fingerprint_of
from geocsp.passes import evaluating

OPSET = 20
OLDEST_OPSET, NEWEST_OPSET = 18, 23
_ROWS = 5


@dataclass(frozen=True)
class OnnxFile:
    """An ONNX file that was written.

    Attributes:
        path: the file.
        part: what of the model it holds.
        inputs: names and shapes of its inputs; None is any number of rows.
        outputs: names of its outputs.
        opset: version of the operators.
        bytes: size of the file.
        fingerprint: of the model's weights.
        difference: from the model's own answers; None if not checked.
    """

    path: Path
    part: Part
    inputs: dict[str, tuple[int | None, ...]]
    outputs: tuple[str, ...]
    opset: int
    bytes: int
    fingerprint: str
    difference: Difference | None


def export_onnx(
    model: LocationModel,
    path: str | Path,
    part: Part | None = None,
    *,
    opset: int = OPSET,
    compare: bool = True,
) -> OnnxFile:
    """Write a part of a model as ONNX, for any number of rows.

    Inputs are ``lonlat`` ``(N, 2)`` float32 degrees, longitude first; ``time`` ``(N, 2)`` float32
    date and hour, NaN where unknown, of encoders that take it; and ``images``, which are features
    ``(N, F)`` float32, or of a model with an image encoder, images out of its transform. float32
    rounds degrees to within a metre; from there angles are in float64. A place that is out of range
    gives NaN in its row, and so does NaN, with which a classifier answers by the image alone.

    The file says in its metadata what it is: part, units, class names, versions and the
    fingerprint of the weights.

    Args:
        model: any trained model.
        path: the ``.onnx`` file, replaced if there is one.
        part: what of the model; by default the most that it has.
        opset: version of the operators.
        compare: run the graph in onnxruntime first and compare with the model.

    Raises:
        DataError: the model has no such part, or one that ONNX cannot hold.
        MissingExtraError: onnx, onnxscript or onnxruntime is not installed.
        RuntimeError: the graph does not say what the model says; then no file is written.
        OSError: the file cannot be written.
    """
    if not OLDEST_OPSET <= opset <= NEWEST_OPSET:
        raise DataError(f"opset must be from {OLDEST_OPSET} to {NEWEST_OPSET}, got {opset}")
    part = part or default_part(model)
    traced = trace(model, part)
    library("onnx", "export")
    if compare:
        library("onnxruntime", "export")
    fingerprint = fingerprint_of(model)
    with evaluating(model), evaluating(traced.graph), torch.no_grad():
        proto = _proto(traced, opset)
        facts = _facts(model, part) | {"fingerprint": fingerprint}
        for name, value in facts.items():
            proto.metadata_props.add(key=f"geocsp.{name}", value=value)
        content = _content(proto)
        difference = check(content, traced) if compare else None
    write_atomically(Path(path), content)
    inputs = {name: (None, *value.shape[1:]) for name, value in traced.inputs.items()}
    return OnnxFile(
        Path(path), part, inputs, traced.outputs, opset, len(content), fingerprint, difference
    )


def _proto(traced: Traced, opset: int) -> Any:
    examples = tuple(value[:_ROWS] for value in traced.inputs.values())
    shapes = tuple({0: torch.export.Dim("rows")} for _ in examples)
    try:
        with _quiet():
            program = torch.onnx.export(
                traced.graph,
                examples,
                dynamo=True,
                dynamic_shapes=shapes,
                input_names=list(traced.inputs),
                output_names=list(traced.outputs),
                opset_version=opset,
                custom_translation_table=translations(opset),
                verbose=False,
            )
    except (DataError, ImportError):
        raise
    except Exception as error:  # the exporter fails in any way
        cause = error.__cause__ or error
        raise DataError(f"this model cannot become an ONNX graph: {one_line(cause)}") from error
    assert program is not None
    proto = program.model_proto
    for part in (proto.graph, *proto.graph.node, *proto.graph.value_info):
        part.ClearField("metadata_props")  # names files of this computer
    return proto


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporter says about itself."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _content(proto: Any) -> bytes:
    try:
        content: bytes = proto.SerializeToString(deterministic=True)
    except ValueError as error:
        raise DataError("the part is above 2 GB, which one ONNX file cannot hold") from error
    return content


def _facts(model: LocationModel, part: Part) -> dict[str, str]:
    """What the file says about itself."""
    facts = {
        "version": version("geocsp"),
        "torch": version("torch"),
        "part": part.value,
        "model": model.kind,
    }
    if part is not Part.IMAGE:
        facts["lonlat"] = "degrees, WGS84, longitude first, float32"
        facts["resolution_km"] = f"{location_of(model).resolution_km:g}"
    prior = prior_in(model)
    if part is not Part.LOCATION and prior is not None:
        facts["class_names"] = json.dumps(prior.class_names, ensure_ascii=False)
    geo_model = geo_model_in(model)
    if part in (Part.IMAGE, Part.CLASSIFIER) and geo_model is not None:
        facts["images"] = _images(geo_model)
    return facts


def _images(model: Any) -> str:
    encoder = model.image
    if encoder is None:
        return json.dumps({"features": len(model.feature_mean)})
    return json.dumps(
        {
            "channels": encoder.framing.channels,
            "pixels": encoder.pixels,
            "mean": encoder.mean.tolist(),
            "deviation": encoder.deviation.tolist(),
        }
    )
