from pathlib import Path

import pytest

from geocsp.config import parse_config, write_config
from geocsp.errors import DataError
from geocsp.evaluate import Shot
from geocsp.evaluate.rows import rows_named
from geocsp.evaluate.settings import ROWS, EvaluateSettings
from geocsp.presets import PAPER


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"rows": ()}, "at least one row"),
        ({"rows": ("image", "image")}, "none twice"),
        ({"shots": ()}, "at least one amount"),
        ({"shots": (Shot(per_class=3), Shot(per_class=3))}, "none twice"),
        ({"seeds": 0}, "seeds >= 1"),
        ({"seed": -1}, "first seed >= 0"),
        ({"draws": 99}, "draws >= 100"),
        ({"image_penalty": 0.0}, "image_penalty"),
        ({"image_penalty": float("nan")}, "image_penalty"),
        ({"image_penalty": float("inf")}, "image_penalty"),
        ({"references": ("image", "image")}, "no row twice"),
    ],
)
def test_settings_that_cannot_work_are_refused(wrong, message):
    with pytest.raises(DataError, match=message):
        EvaluateSettings(**wrong)


def test_shots_that_results_could_not_tell_apart_are_refused():
    near = (Shot(ratio=0.1), Shot(ratio=0.1 + 1e-12))
    assert near[0] != near[1]
    with pytest.raises(DataError, match="none twice"):
        EvaluateSettings(shots=near)


def test_seeds_are_counted_from_the_first():
    assert list(EvaluateSettings(seeds=3, seed=7).every_seed) == [7, 8, 9]


def test_the_rows_by_default_are_known_and_each_reference_is_among_them():
    assert tuple(row.name for row in rows_named(ROWS, PAPER, 8)) == ROWS
    settings = EvaluateSettings()
    assert settings.baseline in ROWS
    assert set(settings.references) <= set(ROWS)


def test_yaml_holds_all_settings():
    settings = EvaluateSettings(
        rows=("knn", "best"),
        shots=(Shot(per_class=2), Shot(ratio=0.3)),
        seeds=2,
        seed=5,
        transductive=True,
        image_penalty=3.5,
        baseline="knn",
        references=("knn",),
        draws=500,
        subsets=Path("runs/other"),
    )
    assert parse_config(write_config(settings), EvaluateSettings, "text") == settings


def test_a_file_with_a_wrong_setting_is_refused():
    with pytest.raises(DataError, match="seeds"):
        parse_config("seeds: 0", EvaluateSettings, "own.yaml")
    with pytest.raises(DataError, match=r"own\.yaml: .*no such setting"):
        parse_config("folds: 3", EvaluateSettings, "own.yaml")
