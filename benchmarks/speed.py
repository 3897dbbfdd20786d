"""Speed of the demo's bottlenecks: image features per second, and dropout against PyTorch's.

python benchmarks/speed.py    prints a table and writes benchmarks/speed.json
"""

import json
import statistics
from pathlib import Path

import numpy as np
import torch
from timing import ROUNDS, machine, paired, ratio

from geocsp.data.named.bluemarble import bluemarble
from geocsp.images import EfficientNetLite0
from geocsp.images.extract import features_of
from geocsp.location.dropout import Dropout

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
    path = Path(__file__).with_suffix(".json")
    path.write_text(json.dumps({"machine": machine(), "rounds": ROUNDS, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
