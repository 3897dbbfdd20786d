from dataclasses import replace

import pytest
import torch
from small_evaluations import FEATURES, OURS, PAPER

from geocsp import registry
from geocsp.config import write_config
from geocsp.errors import DataError
from geocsp.evaluate.rows import Row, rows_named
from geocsp.presets import PAPER as PUBLISHED
from geocsp.presets import PRESETS, Component, HoldOut, ImageTower
from geocsp.train.linear import LinearSettings
from geocsp.train.simclr import SimCLRSettings

EVERY = (
    "image",
    "image-aligned",
    "simclr",
    "mse",
    *(f"csp-{kind}-{parts}" for kind in ("mc", "nce") for parts in ("bld", "bd", "bl", "b")),
    "best",
    "frequency",
    "grid-histogram",
    "kde",
    "knn",
    "sup-grid",
    "sup-wrap",
)


def row(name, paper=PAPER, best=OURS):
    (found,) = rows_named([name], paper, FEATURES, best)
    return found


@pytest.mark.parametrize("name", EVERY)
def test_every_row_has_its_name_and_can_be_trained(name):
    found = row(name)
    assert found.name == name
    assert found.label
    found.check(FEATURES)


def test_labels_are_told_apart():
    labels = [found.label for found in rows_named(EVERY, PAPER, FEATURES)]
    assert len(set(labels)) == len(labels)


@pytest.mark.parametrize(
    ("name", "place", "pretrains", "raw", "learns"),
    [
        ("image", False, False, True, False),
        ("image-aligned", False, True, False, False),
        ("simclr", False, True, False, False),
        ("knn", True, False, True, False),
        ("sup-grid", True, False, True, False),
        ("sup-wrap", True, False, True, False),
        ("mse", True, True, True, False),
        ("csp-nce-bl", True, True, True, False),
        ("csp-mc-bld", True, True, True, False),
        ("best", True, True, False, True),
    ],
)
def test_what_a_row_is_made_of(name, place, pretrains, raw, learns):
    found = row(name)
    assert found.has_place is place
    assert found.pretrains is pretrains
    assert found.raw_images is raw
    assert found.learns_from_answers is learns


@pytest.mark.parametrize("encoder", registry.available("location"))
def test_a_supervised_row_of_every_location_encoder_can_be_built(encoder):
    found = row(f"sup-{encoder}", PUBLISHED)
    assert encoder in found.label
    assert found.preset.location.name == encoder
    assert found.preset.finetune == PUBLISHED.finetune
    assert not found.pretrains
    prior = found.preset.build_prior(("a", "b"), 0)
    assert prior.location.dim == PUBLISHED.location.settings["dim"]
    assert prior.class_scores(torch.tensor([[10.0, 50.0], [-180.0, -90.0]])).shape == (2, 2)


def test_the_ablations_leave_out_what_their_letters_lack():
    weights = {
        "bld": {},
        "bd": {"random_location": 0.0},
        "bl": {"dropout": 0.0},
        "b": {"random_location": 0.0, "dropout": 0.0},
    }
    for kind in ("csp-mc", "csp-nce"):
        for letters, zero in weights.items():
            objective = row(f"{kind}-{letters}", PUBLISHED).preset.build_objective(0)
            for part in ("random_location", "dropout"):
                assert objective.recipe["settings"].get(part, 1.0) == zero.get(part, 1.0)
            assert objective.recipe["name"] == kind


def test_the_papers_settings_go_into_every_row_of_csp_that_takes_them():
    legacy = Component("csp-mc", {"sampling": "legacy-disc", "temperatures": [20.0, 1.0, 1.0]})
    paper = replace(PAPER, objective=legacy)
    assert row("csp-mc-bd", paper).preset.objective.settings == legacy.settings | {
        "random_location": 0.0
    }
    assert row("csp-nce-b", paper).preset.objective.settings == {
        "sampling": "legacy-disc",
        "random_location": 0.0,
        "dropout": 0.0,
    }


def test_rows_of_the_paper_differ_in_their_objective_alone():
    for name in ("mse", "csp-nce-bld", "csp-mc-b"):
        assert replace(row(name).preset, objective=PAPER.objective) == PAPER
    assert row("sup-grid").preset == replace(PAPER, objective=None)


@pytest.mark.parametrize(
    "name", ["", "none", "sup-", "sup-none", "csp-mc", "csp-mc-x", "csp-bld", "best-b", "BEST"]
)
def test_a_row_that_there_is_not_is_refused_with_those_that_there_are(name):
    with pytest.raises(DataError, match=r"no row .*image-aligned.*knn.*YAML") as error:
        row(name)
    assert repr(name) in str(error.value)


def test_a_row_is_named_once():
    for names in (["knn", "knn"], []):
        with pytest.raises(DataError, match="none twice"):
            rows_named(names, PAPER, FEATURES)


def test_a_yaml_file_is_a_row(tmp_path):
    path = tmp_path / "own.v2.yaml"
    path.write_text(write_config(replace(OURS, aligned_image=False)))
    found = row(str(path))
    assert (found.name, found.label) == ("own.v2", "own.v2")
    assert found.preset == replace(OURS, aligned_image=False)


def test_a_yaml_file_with_the_name_of_another_row_is_refused(tmp_path):
    for name in ("best.yaml", "own.yaml", "more/own.yml"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(write_config(PAPER))
    for names in (("best", "best.yaml"), ("own.yaml", "more/own.yml")):
        given = [str(tmp_path / n) if n.endswith("ml") else n for n in names]
        with pytest.raises(DataError, match="a YAML file names its row"):
            rows_named(given, PAPER, FEATURES)


def test_a_yaml_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(DataError, match=r"missing\.yaml"):
        row(str(tmp_path / "missing.yaml"))
    (tmp_path / "bad.yaml").write_text("location: {name: nowhere}")
    with pytest.raises(DataError, match=r"bad\.yaml.*nowhere"):
        row(str(tmp_path / "bad.yaml"))


def test_rows_that_pre_train_alike_share_a_tower():
    best = row("best")
    same = [
        row("image-aligned"),
        replace(best, name="raw", preset=replace(OURS, aligned_image=False)),
        replace(best, preset=replace(OURS, linear=None)),
        replace(best, preset=replace(OURS, linear=LinearSettings(1.0))),
        replace(best, preset=replace(OURS, finetune=PUBLISHED.finetune)),
        replace(best, label="other", preset=replace(OURS, seed=9)),
    ]
    assert {found.tower for found in same} == {best.tower}


def test_rows_that_pre_train_otherwise_do_not_share_a_tower():
    others = [row(name) for name in EVERY if row(name).pretrains and name != "image-aligned"]
    best = row("best")
    changes = {
        "location": Component("wrap", {"dim": 16}),
        "objective": Component("clip"),
        "pretrain": replace(OURS.pretrain, epochs=4),
        "sampler": Component("uniform"),
        "temperature": 0.3,
        "standardise": False,
        "image_hidden": 5,
    }
    others += [
        replace(best, preset=replace(OURS, **{name: value})) for name, value in changes.items()
    ]
    others += [replace(best, pretrain_images=count) for count in (10, 20)]
    others.append(replace(row("simclr"), simclr=SimCLRSettings(epochs=1)))
    assert len({found.tower for found in others}) == len(others)


def test_presets_are_rows_where_they_train_on_features_without_labels():
    for name in ("inat2018-paper", "fmow-paper", "satclip", "geoclip"):
        found = row(name)
        assert found.preset == PRESETS[name]
        found.check(FEATURES)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (PRESETS["sinr"], "labels or photographers of all images"),
        (PRESETS["inat2018-release"], "labels"),
        ({"per_class": 3}, "labels or photographers"),
        ({"objective": Component("photographer", {"photographers": 2})}, "labels or photographers"),
        ({"objective": Component("supcon")}, "labels or photographers"),
        ({"hold_out": HoldOut(share=0.1)}, "leave hold_out"),
        ({"image": ImageTower(train=("",))}, "image encoder"),
        ({"objective": Component("csp-mc", {"nothing": 1})}, "nothing"),
        ({"location": Component("nowhere")}, "nowhere"),
        ({"sampler": Component("nowhere")}, "nowhere"),
    ],
)
def test_what_an_evaluation_must_not_or_cannot_train_is_refused(changes, message):
    preset = replace(PAPER, **changes) if isinstance(changes, dict) else changes
    with pytest.raises(DataError, match=rf"row mine: .*{message}"):
        Row("mine", "mine", preset).check(FEATURES)


def test_labels_may_matter_where_nothing_is_pre_trained():
    Row("mine", "mine", replace(PAPER, objective=None, per_class=3)).check(FEATURES)
