import math
import statistics

import pytest
import torch
from constructed import task

from geocsp.fusion import Variant
from geocsp.fusion.blocks import equal_blocks
from geocsp.fusion.evidence import Evidence, can_judge, evidence_of
from geocsp.fusion.guard import Rows, fit_guard
from geocsp.fusion.trust import signals_of


def rows_of(made):
    log_image, scores, labels = made.held_out()
    signals = signals_of(made.support, made.lonlat[0], None)
    return Rows(log_image.double(), scores.double(), labels, signals)


def test_gain_is_the_mean_over_blocks_of_rows_that_nothing_was_fitted_to():
    made = task(3)
    rows = rows_of(made)
    whole = fit_guard(rows, Variant.POWER)
    found = evidence_of(rows, made.lonlat[0], Variant.POWER, whole)
    block = equal_blocks(made.lonlat[0], 5)
    gains = {number: [] for number in range(32)}
    for fold in range(4):
        others = torch.tensor([number % 4 != fold for number in block.tolist()])
        fitted = fit_guard(rows[others], Variant.POWER, whole.point)
        for row in (~others).nonzero().flatten().tolist():
            one = rows[torch.tensor([row])]
            share = float(fitted.trust.of(one.signals))
            alone = one.log_image[0] / fitted.image_temperature
            fused = fitted.fusion.logits(one.log_image, one.scores)[0]
            mixed = share * fused + (1 - share) * alone
            label = int(one.labels)
            likelier = mixed.log_softmax(0)[label] - alone.log_softmax(0)[label]
            gains[int(block[row])].append(float(likelier))
    means = [statistics.mean(values) for values in gains.values()]
    assert found.gain == pytest.approx(statistics.mean(means), rel=1e-9)
    assert found.error == pytest.approx(statistics.stdev(means) / math.sqrt(32), rel=1e-9)
    assert found.enough


def test_an_optimum_does_not_depend_on_where_the_search_starts():
    rows = rows_of(task(3))
    first = fit_guard(rows, Variant.POWER)
    again = fit_guard(rows, Variant.POWER, torch.tensor([0.3, -0.2, 0.1, 0.4, -0.3]))
    assert float(again.losses(rows).mean()) == pytest.approx(
        float(first.losses(rows).mean()), abs=1e-4
    )


def test_evidence_is_enough_above_one_standard_error():
    assert Evidence(0.11, 0.1).enough
    assert not Evidence(0.1, 0.1).enough
    assert not Evidence(0.0, 0.0).enough
    assert not Evidence(-0.2, 0.1).enough


@pytest.mark.parametrize("count", [16, 17, 40, 127, 400])
def test_any_number_of_rows_from_sixteen_on_is_judged(count):
    made = task(0)
    rows = rows_of(made)[torch.arange(count)]
    assert can_judge(count)
    assert not can_judge(15)
    guard = fit_guard(rows, Variant.TEMPERATURES)
    found = evidence_of(rows, made.lonlat[0][:count], Variant.TEMPERATURES, guard)
    assert math.isfinite(found.gain)
    assert found.error > 0
