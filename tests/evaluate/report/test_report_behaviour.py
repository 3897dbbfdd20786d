import re

import numpy as np
import pytest
from synthetic_results import write_results

from geocsp.evaluate.geo_bias import geo_bias
from geocsp.evaluate.report.behaviour import behaviours, certainty_pictures, slice_grids
from geocsp.evaluate.report.bias import bias_grid
from geocsp.evaluate.report.drawing import house_style
from geocsp.evaluate.report.pooled import Shown
from geocsp.evaluate.report.view import View
from geocsp.evaluate.report.wins import win_maps
from geocsp.evaluate.results import Measure, Regime

SHOWN = Shown("landcover", Regime.INDUCTIVE, "5 %", "best", Measure.GUARDED)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return write_results(tmp_path_factory.mktemp("behaviour") / "run", shots=("5 %",))


def runs_of(results, row="best"):
    return [run for run in results.runs if run.row == row]


def right(results, run, measure):
    said = results.answers(run, measure)
    return (said.predicted == said.labels).astype(float)


def test_breakdowns_are_those_of_all_answers(results):
    found = behaviours(View(results), SHOWN)
    assert list(found) == [Measure.IMAGE, Measure.LOCATION, Measure.FUSED, Measure.GUARDED]
    regions, distances, confidences = slice_grids(SHOWN, "best (ours)", found)
    hits = np.concatenate([right(results, run, Measure.GUARDED) for run in runs_of(results)])
    rows = np.concatenate([results.test_rows(run) for run in runs_of(results)])
    km = np.concatenate([results.km(run) for run in runs_of(results)])
    for name, group in (("western half", 0), ("eastern half", 1), ("no place", -1)):
        (line,) = [line for line in regions.rows if line[0] == name]
        mine = results.region[rows] == group
        assert line[1] == f"{len(np.unique(rows[mine])):,}"
        assert line[-1].text == f"{100 * hits[mine].mean():.1f}"
    (line,) = [line for line in distances.rows if line[0] == "500 to 1000 km"]
    mine = (km >= 500) & (km < 1000)
    assert line[-1].text == f"{100 * hits[mine].mean():.1f}"
    assert len(confidences.rows) == 5


def test_captions_hold_the_numbers_of_the_figures(results):
    found = behaviours(View(results), SHOWN)
    with house_style():
        *plots, risk = certainty_pictures(View(results), SHOWN, found)
    assert len(plots) == 4
    for measure, plot in zip(found, plots, strict=True):
        assert f"ECE {100 * found[measure].reliability.ece:.1f} %" in plot.alt
        assert (
            len(re.findall(r"% sure and", plot.alt)) == (found[measure].reliability.count > 0).sum()
        )
        assert f"{100 * found[measure].risk.area:.1f} %" in risk.caption


def test_maps_count_the_blocks_that_each_side_wins(results):
    with house_style():
        against_baseline, against_image = win_maps(View(results), SHOWN)
    for picture, row, measure in (
        (against_baseline, "sup-grid", Measure.GUARDED),
        (against_image, "best", Measure.IMAGE),
    ):
        sums = {}
        for one, other in zip(runs_of(results), runs_of(results, row), strict=True):
            differences = right(results, one, Measure.GUARDED) - right(results, other, measure)
            for place, difference in zip(results.test_rows(one), differences, strict=True):
                if np.isfinite(results.lonlat[place]).all():
                    block = int(results.block[place])
                    sums[block] = sums.get(block, 0) + int(difference)
        signs = np.sign(list(sums.values())).tolist()
        assert (
            f"{signs.count(1):,} blocks for the first, {signs.count(-1):,} for the second, "
            f"{signs.count(0):,} even" in picture.caption
        )


def test_geo_bias_is_that_of_the_first_seed_of_each_fold(results):
    grid = bias_grid(View(results), SHOWN)
    (line,) = [r for r in grid.rows if r[0].text == "best (ours)" and "guarded" in r[1]]
    scores = []
    for run in runs_of(results):
        if run.seed == 0:
            places = results.lonlat[results.test_rows(run)]
            hits = right(results, run, Measure.GUARDED)
            scores.append(geo_bias(hits, places, centres=300))
    assert line[2].text == f"{np.mean([score.marked for score in scores]):.2f}"
    assert line[3].text == f"{np.mean([score.unmarked for score in scores]):.2f}"
    assert [r[0].text for r in grid.rows[1:]] == list(View(results).rows.values())


def test_without_places_there_is_neither_map_nor_geo_bias(tmp_path):
    results = write_results(tmp_path / "run", points=60, shots=("5 %",), placed=False)
    with house_style():
        assert list(win_maps(View(results), SHOWN)) == []
    assert bias_grid(View(results), SHOWN) is None
    slices = [found.slices for found in behaviours(View(results), SHOWN).values()]
    assert all(list(parts) == ["confidence of the image alone"] for parts in slices)
