import pytest

from geocsp.demo.methods import methods
from geocsp.demo.settings import TEST_FOLDS, VALIDATION_FOLD, DemoSettings
from geocsp.errors import DataError
from geocsp.presets import BEST


def test_the_validation_fold_is_never_tested():
    assert VALIDATION_FOLD not in TEST_FOLDS
    with pytest.raises(DataError, match="test folds must be some of"):
        DemoSettings(test_folds=(VALIDATION_FOLD,))


@pytest.mark.parametrize(
    "wrong",
    [
        {"points": 100},
        {"seeds": 0},
        {"epochs": 0},
        {"pixels": 0},
        {"shots": ()},
        {"test_folds": ()},
        {"test_folds": (1, 1)},
        {"tasks": ("soil",)},
        {"tasks": ()},
        {"tasks": ("climate", "climate")},
    ],
)
def test_sizes_that_cannot_work_are_refused(wrong):
    with pytest.raises(DataError):
        DemoSettings(**wrong)


def test_full_is_every_fold_five_seeds_and_both_tasks():
    full = DemoSettings.full()
    assert (full.points, full.test_folds, full.seeds) == (20_000, TEST_FOLDS, 5)
    assert full.tasks == ("landcover", "climate")


def test_the_rows_are_those_of_the_paper_and_ours():
    rows = {row.name: row for row in methods(DemoSettings(epochs=9), feature_dim=1280)}
    assert list(rows) == ["sup-wrap", "sup-grid", "mse", "csp-nce", "csp-mc", "best"]
    grid = rows["sup-grid"].preset
    for name in ("mse", "csp-nce", "csp-mc"):
        preset = rows[name].preset
        assert preset.location == grid.location
        assert preset.finetune == grid.finetune
        assert preset.objective.name == name
        assert preset.pretrain.epochs == 9
        assert preset.build_objective(0)
    assert rows["best"].preset.objective == BEST.objective
