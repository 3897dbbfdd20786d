from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from geocsp.demo.settings import DemoSettings
from geocsp.demo.work import (
    INDUCTIVE,
    SUPERVISED_ONLY,
    TRANSDUCTIVE,
    Unit,
    Workspace,
    save_arrays,
    task_rows,
    tower_of,
)
from geocsp.evaluate import SHOTS, Shot


def workspace(**changes):
    return Workspace(replace(DemoSettings(), **changes), Path("work"), Path("features"))


def test_no_two_units_share_a_file():
    units = [
        Unit(method, regime, fold, seed)
        for method in ("mse", "csp-mc", "best")
        for regime in (INDUCTIVE, TRANSDUCTIVE, SUPERVISED_ONLY)
        for fold in (None, 1, 2)
        for seed in (0, 1, 12)
    ]
    place = workspace()
    assert len({place.records(unit) for unit in units}) == len(units)
    assert len({place.tower(unit) for unit in units}) == len(units)


def test_all_files_of_a_unit_lie_in_the_work_folder():
    place, unit = workspace(), Unit("best", INDUCTIVE, 1, 0)
    files = [
        place.records(unit),
        place.tower(unit),
        place.image_file("landcover", 1, 0),
        place.showcase_prior("landcover"),
        place.showcase_image("landcover"),
    ]
    assert {file.parent for file in files} == {Path("work")}
    assert len(set(files)) == 5


def test_an_inductive_unit_builds_on_the_tower_of_its_fold():
    unit = Unit("best", INDUCTIVE, 2, 3)
    assert tower_of(unit) == unit


def test_transductive_units_of_all_folds_build_on_one_tower():
    towers = {tower_of(Unit("best", TRANSDUCTIVE, fold, 3)) for fold in (1, 2, 3, 4)}
    assert towers == {Unit("best", TRANSDUCTIVE, None, 3)}
    assert tower_of(Unit("best", TRANSDUCTIVE, 1, 4)) not in towers


def test_the_showcase_is_the_best_row_on_the_first_fold_and_seed():
    shown = workspace(test_folds=(3, 1), seed=7, seeds=2).showcase()
    assert shown == Unit("best", INDUCTIVE, 3, 7)


@pytest.mark.parametrize(
    ("shots", "number"),
    [
        (SHOTS, 5),
        ((Shot(ratio=0.1), Shot(ratio=1.0)), 0),
        ((Shot(per_class=10), Shot(ratio=0.05), Shot(ratio=1.0)), 2),
        ((Shot(per_class=1),), 0),
    ],
)
def test_maps_show_a_tenth_of_the_labels_or_else_the_last_shot(shots, number):
    assert workspace(shots=shots).showcase_shot() == number


def test_every_row_of_the_table_is_found_by_its_name():
    place = workspace(epochs=4)
    assert place.method("best").name == "best"
    assert place.method("csp-mc").preset.pretrain.epochs == 4


@pytest.mark.parametrize("task", ["landcover", "climate"])
def test_task_rows_are_the_labelled_rows_of_the_split(data, task):
    split = data.split(1)
    rows = task_rows(data, task, split)
    labels = data.tasks[task].labels
    for part in ("train", "validation", "test"):
        expected = [row for row in getattr(split, part) if labels[row] >= 0]
        assert getattr(rows, part).tolist() == expected
    assert rows.unlabelled.tolist() == split.train.tolist()
    assert rows.classes == len(data.tasks[task].class_names)


def test_a_subset_lies_in_the_training_rows_and_has_the_shots_labels(data):
    rows = task_rows(data, "landcover", data.split(1))
    subset = rows.subset(Shot(per_class=3), seed=0)
    assert set(subset.tolist()) < set(rows.train.tolist())
    available = torch.bincount(rows.labels[rows.train], minlength=rows.classes)
    taken = torch.bincount(rows.labels[subset], minlength=rows.classes)
    assert taken.tolist() == available.clamp(max=3).tolist()
    assert set(subset.tolist()) < set(rows.subset(Shot(ratio=1.0), seed=0).tolist())


def test_arrays_are_read_back_as_they_were_saved(tmp_path):
    arrays = {"a-0": np.arange(6.0).reshape(2, 3), "b": np.array([1, 2])}
    save_arrays(tmp_path / "answers.npz", arrays)
    with np.load(tmp_path / "answers.npz", allow_pickle=False) as stored:
        assert set(stored.files) == set(arrays)
        for name, array in arrays.items():
            np.testing.assert_array_equal(stored[name], array)
    assert [path.name for path in tmp_path.iterdir()] == ["answers.npz"]
