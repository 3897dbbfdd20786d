"""ONNX files as image encoders, with onnxruntime."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geocsp.errors import DataError
from geocsp.images.base import ImageEncoder
from geocsp.images.framing import Framing
from geocsp.images.libraries import library, one_line
from geocsp.images.module_tower import (
    IMAGENET_DEVIATION,
    IMAGENET_MEAN,
    Pooling,
    per_channel,
    pooled,
)
from geocsp.registry import register

_NUMBERS = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
_LOCATION = re.compile(rb"\n\x08location\x12(.)", re.DOTALL)
"""In the protocol buffer: the key "location" of external data, then the length of a file name."""


@register("image", "onnx")
class OnnxEncoder(ImageEncoder):
    """A network from an ONNX file, run by onnxruntime on the CPU.

    Its input is images ``(B, channels, pixels, pixels)``, float32 or float16, with sizes that are
    fixed or free; where the batch is fixed, batches are cut and the last one filled up. Weights may
    lie in other files of the same folder.

    Args:
        weights: the ``.onnx`` file.
        pixels: width and height of the network input, where the file leaves it open; then 224 by
            default.
        channels: number of channels, where the file leaves it open; then 3 by default.
        resize: scale the shorter side to this many pixels first; None: squeeze the whole image in.
        mean: subtracted from the pixels, one value or one per channel; ImageNet's by default.
        deviation: what they are then divided by, likewise.
        output: name of the output; by default the first of shape (batch, dim), else the first.
        pooling: what becomes of tokens: ``MEAN`` of all, or the first (``CLS``).

    Raises:
        MissingExtraError: onnxruntime is not installed.
        DataError: the file cannot be run or is no image encoder.
    """

    def __init__(
        self,
        weights: str | Path,
        *,
        pixels: int | None = None,
        channels: int | None = None,
        resize: int | None = None,
        mean: float | Sequence[float] | None = None,
        deviation: float | Sequence[float] | None = None,
        output: str | None = None,
        pooling: Pooling = Pooling.MEAN,
    ) -> None:
        super().__init__()
        self.network = _Network(Path(weights))
        self.pooling = pooling
        self.output = self.network.output(output)
        _, stored_channels, height, width = self.network.shape
        if height != width:
            raise DataError(f"{weights} takes images of {height} x {width}, which are no squares")
        self.framing = Framing(
            _agreed(height, pixels, 224, f"{weights}: pixels"),
            resize=resize,
            channels=_agreed(stored_channels, channels, 3, f"{weights}: channels"),
        )
        count = self.framing.channels
        plain = (IMAGENET_MEAN, IMAGENET_DEVIATION) if count == 3 else (0.0, 1.0)
        self.register_buffer("mean", per_channel(plain[0] if mean is None else mean, count))
        self.register_buffer(
            "deviation", per_channel(plain[1] if deviation is None else deviation, count)
        )
        self.architecture = f"{self.network.digest()} {self.output} {pooling}"
        self.eval()
        self.dim = self(torch.zeros(1, self.framing.channels, self.pixels, self.pixels)).shape[1]

    def forward(self, image: Tensor) -> Tensor:
        """Features of transformed images, ``(B, dim)`` float32."""
        rows = self.network.run(image.detach().float().cpu().numpy(), self.output)
        return pooled(torch.from_numpy(rows), self.pooling).float().to(image.device)


class _Network:
    """A session of onnxruntime that can be sent to other processes: it is opened anew there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        runtime = library("onnxruntime", "onnx")
        if not path.is_file():
            raise DataError(f"{path} does not exist or is no file")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 4  # errors come as exceptions
        try:
            self.session = runtime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime has classes of its own for every code
            raise DataError(f"cannot read {path}: {one_line(error)}") from error
        inputs = self.session.get_inputs()
        self.input: Any = inputs[0] if len(inputs) == 1 else None
        if self.input is None or len(self.input.shape) != 4 or self.input.type not in _NUMBERS:
            takes = ", ".join(f"{i.name} {i.shape} {i.type}" for i in inputs)
            raise DataError(
                f"{path} takes {takes}; an image encoder takes one (batch, channels, height, "
                "width) of float32 or float16"
            )

    def __reduce__(self) -> tuple[type[_Network], tuple[Path]]:
        return type(self), (self.path,)

    @property
    def shape(self) -> list[int | None]:
        """Batch, channels, height and width of the input; None is free."""
        return [size if isinstance(size, int) and size > 0 else None for size in self.input.shape]

    def output(self, name: str | None) -> str:
        """The name of the output to take."""
        outputs = self.session.get_outputs()
        names = [output.name for output in outputs]
        if name is not None and name not in names:
            raise DataError(f"{self.path} has no output {name!r}; it has {', '.join(names)}")
        flat = [output.name for output in outputs if len(output.shape) == 2]
        return name or [*flat, *names][0]

    def run(self, images: NDArray[np.float32], output: str) -> NDArray[Any]:
        """The output for any number of images."""
        count = len(images)
        size = self.shape[0] or max(1, count)
        starts = range(0, max(1, count), size)
        parts = [self._batch(images[start : start + size], size, output) for start in starts]
        return np.concatenate(parts)[:count]

    def _batch(self, images: NDArray[np.float32], size: int, output: str) -> NDArray[Any]:
        fill = [(0, size - len(images)), (0, 0), (0, 0), (0, 0)]
        numbers = np.pad(images, fill).astype(_NUMBERS[self.input.type])
        try:
            rows: NDArray[Any] = self.session.run([output], {self.input.name: numbers})[0]
        except Exception as error:  # as above
            raise DataError(f"{self.path} fails on {numbers.shape}: {one_line(error)}") from error
        if len(rows) != size:
            raise DataError(f"{self.path} gives {rows.shape} for {size} images: no row per image")
        return rows

    def digest(self) -> str:
        """Changes with the file and with the files of weights that it names."""
        content = self.path.read_bytes()
        digest = hashlib.sha256(content)
        names = {content[m.end() : m.end() + m[1][0]] for m in _LOCATION.finditer(content)}
        for name in sorted(names):
            beside = self.path.parent / name.decode(errors="replace")
            if beside.is_file():
                with beside.open("rb") as file:
                    digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()


def _agreed(stored: int | None, asked: int | None, default: int, what: str) -> int:
    if stored is not None and asked is not None and stored != asked:
        raise DataError(f"{what} are {stored} in the file, not {asked}")
    return stored or asked or default
