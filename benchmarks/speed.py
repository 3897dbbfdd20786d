"""Speed of the demo's bottlenecks: image features per second, and dropout against PyTorch's.

python benchmarks/speed.py    prints a table and writes benchmarks/speed.json
"""

import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from geocsp.data.named.bluemarble import bluemarble
from geocsp.images import EfficientNetLite0
from geocsp.images.extract import features_of, has_bfloat16
from geocsp.location.dropout import Dropout

ROUNDS = 5
TILES = 256


def main() -> None:
    tiles = bluemarble(points=TILES).images(np.arange(TILES))
    rows = []
    for pixels in (64, 96, 224):
        encoder = EfficientNetLite0(pixels=pixels)
        count = TILES if pixels < 224 else 32
        plain, fast = paired(
            lambda e=encoder, n=count: features_of(e, tiles[:n], bfloat16=False),
            lambda e=encoder, n=count: features_of(e, tiles[:n], bfloat16=True),
        )
        rows.append(
            {
                "what": f"EfficientNet-Lite0, {pixels} px",
                "float32, images/s": count / statistics.median(plain),
                "bfloat16, images/s": count / statistics.median(fast),
                "ratio": ratio(plain, fast),
            }
        )
    torch.set_num_threads(1)
    x = torch.randn(1536, 512, requires_grad=True)
    theirs, ours = torch.nn.Dropout(0.5), Dropout(0.5)
    slow, quick = paired(lambda: theirs(x).sum().backward(), lambda: ours(x).sum().backward())
    rows.append(
        {
            "what": "dropout of 1536 x 512, forward and backward",
            "torch.nn.Dropout, ms": 1000 * statistics.median(slow),
            "geocsp, ms": 1000 * statistics.median(quick),
            "ratio": ratio(slow, quick),
        }
    )
    for row in rows:
        print(", ".join(f"{k}: {v if isinstance(v, str) else f'{v:.4g}'}" for k, v in row.items()))
    machine = {
        "cores": os.cpu_count(),
        "processor": platform.processor() or platform.machine(),
        "bfloat16 instructions": has_bfloat16(),
        "torch": torch.__version__,
    }
    path = Path(__file__).with_suffix(".json")
    path.write_text(json.dumps({"machine": machine, "rounds": ROUNDS, "rows": rows}, indent=1))


def paired(first: Callable[[], object], second: Callable[[], object]) -> tuple[list, list]:
    """Seconds of two functions, taken in turns after a warm-up."""
    times: tuple[list, list] = ([], [])
    for round_number in range(ROUNDS + 1):
        for function, into in zip((first, second), times, strict=True):
            start = time.perf_counter()
            function()
            if round_number:
                into.append(time.perf_counter() - start)
    return times


def ratio(slow: list[float], fast: list[float]) -> float:
    """Median of the ratios of neighbouring runs."""
    return statistics.median(a / b for a, b in zip(slow, fast, strict=True))


if __name__ == "__main__":
    main()
