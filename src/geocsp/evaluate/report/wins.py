"""Where one row of the table wins against another."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from geocsp.evaluate.report.drawing import Picture, data_uri
from geocsp.evaluate.report.maps import block_means, difference_map
from geocsp.evaluate.report.pooled import Shown, mean_hits
from geocsp.evaluate.report.source import settings_line
from geocsp.evaluate.report.view import Side, View
from geocsp.evaluate.results import Measure


def win_maps(view: View, shown: Shown) -> Iterator[Picture]:
    """The row that is shown against the baseline row, and against its own image alone."""
    base = view.base(shown.task, shown.measure)
    image = Side(shown.row, Measure.IMAGE)
    for second in dict.fromkeys((base, image)):
        if second is not None and second != shown.side:
            picture = win_map(view, shown, second)
            if picture is not None:
                yield picture


def win_map(view: View, shown: Shown, second: Side) -> Picture | None:
    """A map of the difference in Top-1 of each spatial block, None without places in common."""
    lonlat = view.results.lonlat
    (first_hits, _), (second_hits, _) = (
        mean_hits(view, shown, side) for side in (shown.side, second)
    )
    differences = first_hits - second_hits
    rows = np.flatnonzero(np.isfinite(differences) & np.isfinite(lonlat).all(axis=1))
    if len(rows) == 0:
        return None
    places, means, counts = block_means(lonlat[rows], view.results.block[rows], differences[rows])
    figure = difference_map(places, means, counts)
    names = view.name(shown.side), view.name(second)
    tally = (
        f"{int((means > 0).sum()):,} blocks for the first, {int((means < 0).sum()):,} for the "
        f"second, {int((means == 0).sum()):,} even"
    )
    settings = settings_line(
        view,
        shown.task,
        shown.regime,
        shots=[shown.shot],
        rows=list(dict.fromkeys((shown.row, second.row))),
    )
    return Picture(
        data_uri(figure),
        alt=f"Map of the difference in Top-1 accuracy between {names[0]} and {names[1]}: {tally}.",
        caption=f"Where {names[0]} (blue) or {names[1]} (orange) is right more often. A dot is a "
        f"spatial block, its area the number of its {len(rows):,} test images: {tally}.",
        settings=settings,
        is_wide=True,
    )
