"""Operators that PyTorch's exporter would write with too little precision.

It writes numbers of Python code as float32 and widens them in the graph. An angle of many turns is
then off by as many times the rounding of 2 pi: by half a radian at the finest scales. And it writes
the logarithm of a sigmoid as just that, which knows no score below -18.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from geocsp.images.libraries import library


def translations(opset: int) -> dict[Callable[..., Any], Callable[..., Any]]:
    """How to write these operators, for ``torch.onnx.export``.

    Raises:
        MissingExtraError: onnxscript is not installed.
    """
    op = getattr(library("onnxscript", "export"), f"opset{opset}")
    ir = library("onnx_ir", "export")

    def constant(value: complex, dtype: Any) -> Any:
        return op.Constant(value=ir.tensor(value, dtype=dtype))

    def scalar_tensor(
        s: complex, dtype: int = -1, layout: str = "", device: str = "", pin_memory: bool = False
    ) -> Any:
        return constant(s, ir.DataType.FLOAT if dtype == -1 else ir.DataType(dtype))

    def deg2rad(self: Any) -> Any:
        return op.Mul(self, constant(math.pi / 180, self.dtype))

    def rad2deg(self: Any) -> Any:
        return op.Mul(self, constant(180 / math.pi, self.dtype))

    def log_sigmoid(self: Any) -> Any:
        zero, one = constant(0.0, self.dtype), constant(1.0, self.dtype)
        return op.Sub(op.Min(self, zero), op.Log(op.Add(one, op.Exp(op.Neg(op.Abs(self))))))

    aten = torch.ops.aten
    return {
        aten.scalar_tensor.default: scalar_tensor,
        aten.deg2rad.default: deg2rad,
        aten.rad2deg.default: rad2deg,
        aten.log_sigmoid.default: log_sigmoid,
    }
