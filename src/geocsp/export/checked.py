"""Does an ONNX file say what the model says?"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from geocsp.export.parts import Traced
from geocsp.images.libraries import library, one_line

TOLERANCE = 1e-4
"""Largest difference allowed, of numbers up to 1; relative to larger ones."""


@dataclass(frozen=True)
class Difference:
    """How far the answers of onnxruntime are from PyTorch's.

    Attributes:
        rows: how many rows were compared: random ones, poles, the antimeridian, and one whose
            place is not known.
        largest: the largest difference of each output, relative to numbers above 1.
    """

    rows: int
    largest: dict[str, float]


def check(content: bytes, traced: Traced) -> Difference:
    """Run a graph on the CPU with onnxruntime and compare.

    Raises:
        MissingExtraError: onnxruntime is not installed.
        RuntimeError: the graph does not run, or an answer differs by more than the tolerance or is
            NaN where it should not.
    """
    runtime = library("onnxruntime", "export")
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    given = {name: value.numpy() for name, value in traced.inputs.items()}
    try:
        session = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        found = [torch.from_numpy(each) for each in session.run(list(traced.outputs), given)]
    except Exception as error:  # onnxruntime has classes of its own for every code
        raise RuntimeError(
            f"onnxruntime {runtime.__version__} cannot run the graph: {one_line(error)}"
        ) from error
    expected = traced.expected(*traced.inputs.values())
    largest = {
        name: _largest(name, *pair)
        for name, pair in zip(traced.outputs, zip(found, expected, strict=True), strict=True)
    }
    return Difference(len(next(iter(traced.inputs.values()))), largest)


def _largest(name: str, found: Tensor, expected: Tensor) -> float:
    expected = expected.detach().cpu().double()
    found = found.double()
    if found.shape != expected.shape or not torch.equal(found.isnan(), expected.isnan()):
        raise RuntimeError(f"the ONNX graph gives NaN or shapes of its own in its {name}")
    off = (found - expected).abs() / expected.abs().clamp_min(1.0)
    largest = float(off.nan_to_num(0.0).max())
    if largest > TOLERANCE:
        row = int(off.nan_to_num(0.0).amax(dim=1).argmax())
        raise RuntimeError(
            f"the ONNX graph differs from the model by {largest:.2g} in {name} of check row {row}; "
            f"allowed are {TOLERANCE:g}"
        )
    return largest
