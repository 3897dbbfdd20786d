import pytest

from geocsp.demo.methods import demo_rows
from geocsp.demo.settings import ROWS, DemoSettings
from geocsp.errors import DataError
from geocsp.evaluate import Shot
from geocsp.evaluate.sources.bluemarble import TEST_FOLDS, VALIDATION_FOLD
from geocsp.presets import BEST


def test_the_validation_fold_is_never_tested():
    assert VALIDATION_FOLD not in TEST_FOLDS
    with pytest.raises(DataError, match="test folds must be some of"):
        DemoSettings(test_folds=(VALIDATION_FOLD,))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"points": 100}, "at least 2000 points"),
        ({"seeds": 0}, "seeds >= 1"),
        ({"seed": -1}, "a first seed >= 0"),
        ({"epochs": 0}, "epochs and pixels must be at least 1, got 0 and 64"),
        ({"pixels": 0}, "epochs and pixels must be at least 1, got 30 and 0"),
        ({"shots": ()}, "shots must name"),
        ({"shots": (Shot(per_class=1), Shot(per_class=1))}, "none twice"),
        ({"test_folds": ()}, "test folds must be some of"),
        ({"test_folds": (1, 1)}, "test_folds must not name anything twice"),
        ({"tasks": ("soil",)}, "tasks must be some of"),
        ({"tasks": ()}, "tasks must be some of"),
        ({"tasks": ("climate", "climate")}, "tasks must not name anything twice"),
    ],
)
def test_sizes_that_cannot_work_are_refused(wrong, message):
    with pytest.raises(DataError, match=message):
        DemoSettings(**wrong)


def test_full_is_every_fold_five_seeds_and_both_tasks():
    full = DemoSettings.full()
    assert (full.points, full.test_folds, full.seeds) == (20_000, TEST_FOLDS, 5)
    assert full.tasks == ("landcover", "climate")


def test_data_and_evaluation_are_as_large_as_the_settings_say(tmp_path):
    settings = DemoSettings(points=2500, pixels=48, seeds=2, seed=3, transductive=False)
    source, evaluation = settings.source(tmp_path), settings.evaluation()
    assert (source.points, source.pixels, source.cache) == (2500, 48, tmp_path)
    assert (source.tasks, source.test_folds) == (settings.tasks, settings.test_folds)
    assert list(evaluation.every_seed) == [3, 4]
    assert evaluation.shots == settings.shots
    assert evaluation.rows == ROWS
    assert not evaluation.transductive


def test_the_rows_are_those_of_the_paper_and_ours():
    rows = {row.name: row for row in demo_rows(DemoSettings(epochs=9))}
    assert tuple(rows) == ROWS
    grid = rows["sup-grid"].preset
    objectives = {"mse": "mse", "csp-nce-bld": "csp-nce", "csp-mc-bld": "csp-mc"}
    for name, objective in objectives.items():
        preset = rows[name].preset
        assert preset.location == grid.location
        assert preset.finetune == grid.finetune
        assert preset.objective.name == objective
        assert preset.pretrain.epochs == 9
        assert preset.build_objective(0)
    for name in ("best", "image-aligned"):
        assert rows[name].preset.objective == BEST.objective
        assert rows[name].preset.linear == BEST.linear
        assert rows[name].preset.pretrain.epochs == 9
    assert rows["best"].tower == rows["image-aligned"].tower
    assert not rows["image"].pretrains
