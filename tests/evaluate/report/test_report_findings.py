import pytest
from synthetic_results import IMAGE, ROWS, write_results

from geocsp.evaluate.report.findings import chosen, harm, winners
from geocsp.evaluate.report.metrics import p_text, points, seconds_text
from geocsp.evaluate.report.view import View, kind_of
from geocsp.evaluate.results import Measure, Regime


@pytest.fixture
def results(tmp_path):
    return write_results(tmp_path / "run", points=80)


def set_top1(results, shot, row, measure, mean):
    for cell in results.facts["table"]:
        if (cell["shot"], cell["row"]) == (shot, row):
            cell[measure]["top1"] = {
                "mean": mean,
                "low": mean - 0.01,
                "high": mean + 0.02,
                "runs": 4,
            }


def set_verdict(results, shot, first, second, measure, **values):
    for comparison in results.facts["comparisons"]:
        keys = ("shot", "first", "second", "measure")
        if tuple(comparison[key] for key in keys) == (shot, first, second, measure):
            comparison |= values


def test_a_winner_that_is_not_significant_is_said_so(results):
    set_top1(results, "5 %", "csp-mc-bld", "fused", 0.953)
    set_top1(results, "5 %", "sup-grid", "fused", 0.941)
    verdict = {"difference": 0.012, "p_corrected": 0.21, "significant": False, "folds_won": 1}
    set_verdict(results, "5 %", "csp-mc-bld", "sup-grid", "fused", **verdict, folds=2)
    first, _, text, _ = winners(View(results), "landcover", Regime.INDUCTIVE)
    assert first == (
        "Highest Top-1, by number of columns of the tables (of 3): best (ours) 2, CSP-MC-BLD 1."
    )
    assert text == (
        "5 % (40 labels): CSP-MC-BLD (image and place, calibrated) is highest with 95.3 % (95 % "
        "interval 94.3 to 97.3). That is 1.2 points above the baseline row, Sup.Only (grid) (image "
        "and place, calibrated): not significant (p = 0.21, better on 1 of 2 folds)."
    )


def test_the_baseline_may_win(results):
    set_top1(results, "5 %", "sup-grid", "location", 0.99)
    _, _, text, _ = winners(View(results), "landcover", Regime.INDUCTIVE)
    assert "Sup.Only (grid) (place alone) is highest with 99.0 %" in text
    assert "It is the baseline row itself. That is" in text


def test_harm_counts_cells_that_place_made_worse(results):
    for comparison in results.facts["comparisons"]:
        if comparison["against"] == "image" and comparison["measure"] == "guarded":
            worse = comparison["shot"] == "5 %"
            comparison |= {"difference": -0.1 if worse else 0.2, "significant": worse}
    guarded, fused = harm(View(results), "landcover", Regime.INDUCTIVE)
    assert guarded == (
        "Image and place, calibrated and guarded, against the image alone of the same row, in 9 "
        "cells: 0 significantly better, 6 without a significant difference, 3 significantly worse."
    )
    assert fused.startswith("Image and place, calibrated, against")


def test_figures_are_about_the_best_row_with_a_place_and_the_middle_amount(results):
    set_top1(results, "5 %", "image", "image", 0.999)
    shown = chosen(View(results), "landcover", Regime.INDUCTIVE)
    assert (shown.shot, shown.row, shown.measure) == ("5 %", "best", Measure.GUARDED)
    asked = chosen(View(results), "landcover", Regime.INDUCTIVE, "image", "100 %")
    assert (asked.shot, asked.row, asked.measure) == ("100 %", "image", Measure.IMAGE)


def test_rows_of_images_alone_stand_beside_the_others(results):
    view = View(results)
    assert view.shown("landcover", "image", Measure.FUSED) is Measure.IMAGE
    assert view.shown("landcover", "image", Measure.LOCATION) is None
    assert view.shown("landcover", "best", Measure.FUSED) is Measure.FUSED
    assert ROWS[0].measures == IMAGE


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (9.96, "10.0 s"),
        (59.6, "1 min 0 s"),
        (200, "3 min 20 s"),
        (7500, "2 h 5 min"),
    ],
)
def test_wall_time_is_readable(seconds, text):
    assert seconds_text(seconds) == text


def test_small_numbers_are_readable():
    assert points(-0.0004) == "0.0"
    assert points(0.0423) == "+4.2"
    assert p_text(0.0001) == "p < 0.001"
    assert p_text(0.0314) == "p = 0.031"
    assert p_text(None) == "no p value"
    assert kind_of("0.5 %") == "%"
    assert kind_of("10 per class") == kind_of("3 per class") == "per class"
