"""Tables about the location encoders, from the registry, encoders.json and location.json."""

from statistics import mean

from tabular import markdown_row, markdown_table, sections

import geocsp
from geocsp.evaluate import interval

JOBS = ("new regions", "new regions, pre-trained", "filling gaps")


def encodings() -> str:
    """What each registered encoder is, with its default settings."""
    lines = [
        markdown_row("encoder", ["features", "finest scale", "antimeridian", "poles", "source"]),
        markdown_row("---", ["---:", "---:", "---", "---", "---"]),
    ]
    for name in geocsp.available("location"):
        encoder = geocsp.create("location", name)
        source = " ".join((type(encoder).__doc__ or "").split("\n\n")[0].split())
        lines.append(
            markdown_row(
                f"`{name}`",
                [
                    str(encoder.feature_dim),
                    distance(encoder.resolution_km),
                    "continuous" if encoder.periodic else "seam",
                    "one value" if encoder.single_pole else "many values",
                    source,
                ],
            )
        )
    return "\n".join(lines) + "\n"


def distance(km: float) -> str:
    return "the world" if km > 20_000 else f"{km:,.0f} km"


def study(report: dict) -> str:
    """Top-1 of every encoder and job, the best of a column and what is level with it in bold."""
    shots = list(dict.fromkeys(row["shot"] for row in report["rows"][0]["records"]))
    parts = []
    for task in ("landcover", "climate"):
        columns = [(job, shot) for job in JOBS for shot in shots]
        headings = [f"{task}, Top-1 %", *(f"{job}, {shot}" for job, shot in columns)]
        cells = {
            row["encoder"]: [values(row, job, task, shot) for job, shot in columns]
            for row in report["rows"]
        }
        best = [max(mean(row[i]) for row in cells.values()) for i in range(len(columns))]
        order = sorted(cells, key=lambda name: -sum(map(mean, cells[name])))
        rows = [[f"`{name}`", *map(emphasised, cells[name], best)] for name in order]
        parts.append(markdown_table(headings, rows))
    chosen = [
        [
            f"`{row['encoder']}`",
            ", ".join(f"{k}={v}" for k, v in row["chosen"]["settings"].items()) or "none to choose",
            f"{row['chosen']['rate']:g}",
            distance(row["resolution_km"]),
            f"{row['weights']:,}",
        ]
        for row in sorted(report["rows"], key=lambda row: row["encoder"])
    ]
    headings = ["settings chosen on the validation fold", "scale", "rate", "finest", "weights"]
    return "\n".join([*parts, markdown_table(headings, chosen)])


def values(row: dict, job: str, task: str, shot: str) -> list[float]:
    return [
        record["top1"]
        for record in row["records"]
        if (record["job"], record["task"], record["shot"]) == (job, task, shot)
    ]


def emphasised(found: list[float], best: float) -> str:
    spread = interval(found)
    text = f"{100 * spread.mean:.1f}"
    return f"**{text}**" if spread.mean > best - 0.01 else text


def speed(report: dict) -> str:
    """Timings, memory and accuracy of the encoders."""
    titles = {
        "encoders": "Position encoding and network, microseconds per point",
        "memory": "Memory beyond places and embeddings",
        "harmonics": "Spherical harmonics, microseconds per point",
        "accuracy": "Spherical harmonics, largest error against SciPy in float32",
    }
    return sections(report, titles)
