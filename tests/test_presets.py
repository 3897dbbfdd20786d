import json
from dataclasses import asdict, replace

import pytest
import torch
from pydantic import TypeAdapter

from geocsp.config import write_config
from geocsp.coords import sample_sphere
from geocsp.errors import DataError
from geocsp.objectives import NegativeSampling
from geocsp.presets import (
    BEST,
    PAPER,
    PRESETS,
    RELEASE,
    Component,
    HoldOut,
    Preset,
    Range,
    Sizes,
    changed,
    read_preset,
    value_at,
)
from geocsp.train.linear import LinearSettings, SelfTraining
from geocsp.train.validation import Metric

PLACES = sample_sphere(5, torch.Generator().manual_seed(0))


def parametrize(test):
    return pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)(test)


def sizes(preset):
    return Sizes(preset.build_location(0).dim, feature_dim=12, classes=3, photographers=2)


@parametrize
def test_a_preset_builds_the_same_parts_for_the_same_seed(preset):
    first, again, other = (preset.build_model(12, seed).embed(PLACES) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    prior = preset.build_prior(("a", "b"), 0, preset.build_model(12, 1))
    embedded = prior.embed(PLACES)
    assert torch.equal(embedded, other)
    assert torch.equal(preset.build_prior(("a", "b"), 0).embed(PLACES), first)
    assert preset.build_objective(0, sizes(preset))


@parametrize
def test_a_preset_can_be_built(preset):
    preset.check()


def test_building_leaves_the_global_random_state_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    BEST.build_prior(("a",), 0, BEST.build_model(12, 0))
    BEST.build_objective(0)
    assert torch.equal(torch.rand(3), expected)


def test_paper_and_release_differ_where_the_sources_do():
    paper, release = PAPER.build_objective(0), RELEASE.build_objective(0)
    assert paper.temperatures == {"B": 1.0, "L": 1.0, "D": 1.0}
    assert release.temperatures == {"B": 20.0, "L": 1.0, "D": 1.0}
    assert paper.weights == release.weights == {"B": 1.0, "L": 1.0, "D": 1.0}
    assert PAPER.build_location(0).radii.min() == pytest.approx(0.01)
    assert RELEASE.build_location(0).radii.min() == pytest.approx(0.1)
    assert PAPER.build_objective(0).sampling is NegativeSampling.SPHERE
    assert RELEASE.build_objective(0).sampling is NegativeSampling.LEGACY_DISC
    assert (PAPER.pretrain.learning_rate, RELEASE.pretrain.learning_rate) == (2e-4, 5e-4)
    assert (PAPER.finetune.learning_rate, RELEASE.finetune.learning_rate) == (5e-4, 1e-3)


def test_the_published_encoder_has_the_published_shapes():
    shapes = {n: tuple(p.shape) for n, p in PAPER.build_location(0).named_parameters()}
    assert shapes["network.hidden.0.linear.weight"] == (512, 128)
    assert shapes["network.output.weight"] == (256, 512)


def test_ours_learns_its_temperature_in_both_directions_and_masks_near_pairs():
    objective = BEST.build_objective(0)
    assert objective.learns_scale
    assert objective.symmetric
    assert objective.mask_km == 100.0
    assert float(BEST.build_model(12, 0).scale().detach()) == pytest.approx(1 / BEST.temperature)


def test_a_supervised_preset_has_no_objective():
    with pytest.raises(ValueError, match="labels alone"):
        replace(PAPER, objective=None).build_objective(0)


@parametrize
def test_a_preset_comes_back_from_json_and_from_yaml(preset, tmp_path):
    written = json.dumps(asdict(preset))
    assert TypeAdapter(Preset).validate_python(json.loads(written)) == preset
    (tmp_path / "own.yaml").write_text(write_config(preset))
    assert read_preset(tmp_path / "own.yaml") == preset


def test_the_prior_has_its_own_copy_of_the_pretrained_encoder():
    model = BEST.build_model(12, 1)
    before = model.embed(PLACES)
    prior = BEST.build_prior(("a", "b"), 0, model)
    with torch.no_grad():
        for weight in prior.location.parameters():
            weight.add_(1)
    assert not torch.equal(prior.embed(PLACES), before)
    assert torch.equal(model.embed(PLACES), before)


@pytest.mark.parametrize("preset", [PAPER, RELEASE], ids=["paper", "release"])
def test_the_published_encoder_sends_its_embedding_through_activation_and_dropout(preset):
    location = preset.build_location(0)
    assert location.dim == 256
    assert len(location.radii) == 32
    assert location.radii.max() == pytest.approx(360.0)
    dropped = float((location.train()(PLACES) == 0).double().mean())
    assert dropped == pytest.approx(0.5, abs=0.1)
    slope = location.eval().network.output
    raw = []
    slope.register_forward_hook(lambda module, given, out: raw.append(out))
    embedding = location(PLACES)
    torch.testing.assert_close(embedding, torch.where(raw[0] < 0, 0.2 * raw[0], raw[0]))


def test_the_release_counts_passes_with_a_rate_that_decays():
    settings = RELEASE.finetune
    assert settings.length(1024 * 5) == 200 * 5
    assert settings.decay == 0.98
    assert not settings.cosine
    assert settings.negatives is NegativeSampling.LEGACY_DISC


def test_ours_leaves_out_random_places_and_dropout_views():
    objective = BEST.build_objective(0)
    assert objective.weights == {"B": 1.0, "L": 0.0, "D": 0.0}
    assert objective.places(PLACES, torch.Generator()) == {}
    assert BEST.standardise
    assert BEST.aligned_image


def test_ours_puts_a_linear_head_on_the_frozen_encoder_and_the_papers_fine_tune():
    assert BEST.linear == LinearSettings(30.0, SelfTraining(100.0, 0.25))
    assert [name for name, preset in PRESETS.items() if preset.linear] == ["best"]


@pytest.mark.parametrize("teaching", [None, SelfTraining(), SelfTraining(7.5, 0.0)])
def test_a_linear_head_comes_back_from_yaml_with_and_without_self_training(teaching, tmp_path):
    preset = replace(BEST, linear=LinearSettings(2.0, teaching))
    (tmp_path / "own.yaml").write_text(write_config(preset))
    assert read_preset(tmp_path / "own.yaml") == preset
    preset.check()


def test_a_linear_head_needs_no_more_than_its_name_in_a_file(tmp_path):
    path = tmp_path / "own.yaml"
    for block, expected in (
        ("{}", LinearSettings()),
        ("{penalty: 3, self_training: null}", LinearSettings(3.0)),
        ("{self_training: {penalty: 1e1}}", LinearSettings(30.0, SelfTraining(10.0))),
        ("null", None),
    ):
        path.write_text(f"location: {{name: wrap}}\nlinear: {block}")
        assert read_preset(path).linear == expected


def test_settings_of_the_linear_head_are_changed_by_their_paths():
    changes = {"linear.penalty": 3.0, "linear.self_training.labelled_share": 1.0}
    preset = changed(BEST, changes)
    assert preset.linear == LinearSettings(3.0, SelfTraining(100.0, 1.0))
    assert changed(BEST, {"linear.self_training": None}).linear == LinearSettings(30.0)
    assert changed(BEST, {"linear": None}) == replace(BEST, linear=None)
    assert value_at(BEST, "linear.self_training.penalty") == 100.0
    with pytest.raises(DataError, match=r"there is no setting 'linear\.penalty'"):
        changed(PAPER, {"linear.penalty": 3.0})


def test_the_release_shows_at_most_100_images_of_a_class_and_the_others_show_all():
    lonlat = torch.rand(500, 2)
    labels = torch.arange(500) % 3
    sampler = RELEASE.build_sampler(lonlat, labels, seed=0)
    shown = sampler.order(torch.Generator().manual_seed(0))
    assert torch.bincount(labels[shown]).tolist() == [100, 100, 100]
    for preset in (PAPER, BEST):
        assert len(preset.build_sampler(lonlat, None, seed=0)) == 500
    with pytest.raises(DataError, match="label"):
        RELEASE.build_sampler(lonlat, None, seed=0)


def test_fmow_has_its_own_activation_rates_and_weights():
    paper, release = PRESETS["fmow-paper"], PRESETS["fmow-release"]
    for preset in (paper, release):
        assert preset.location.settings["activation"] == "gelu"
        assert preset.pretrain.epochs == 300
        assert preset.finetune.learning_rate == 1e-3
    assert (paper.pretrain.learning_rate, release.pretrain.learning_rate) == (1e-3, 5e-5)
    assert paper.build_objective(0).weights == {"B": 1.0, "L": 1.0, "D": 1.0}
    assert release.build_objective(0).weights == {"B": 1.0, "L": 1.0, "D": 0.1}
    assert release.build_objective(0).temperatures == {"B": 1.0, "L": 1.0, "D": 1.0}
    assert release.sampler == Component("balanced", {"per_class": 100})
    assert paper.sampler is None


def test_satclip_is_the_published_model():
    preset = PRESETS["satclip"]
    shapes = {n: tuple(p.shape) for n, p in preset.build_location(0).named_parameters()}
    assert shapes["network.hidden.0.linear.weight"] == (256, 1600)
    assert shapes["network.output.weight"] == (256, 256)
    assert (preset.pretrain.epochs, preset.pretrain.batch_size) == (500, 512)
    assert (preset.pretrain.learning_rate, preset.pretrain.weight_decay) == (1e-4, 0.01)
    objective = preset.build_objective(0)
    assert objective.learns_scale
    assert float(preset.build_model(12, 0).scale().detach()) == pytest.approx(1 / 0.07)
    smaller = changed(preset, {"location.settings.degrees": 10})
    assert smaller.build_location(0).feature_dim == 100


def test_geoclip_is_the_published_model_with_a_linear_image_side():
    preset = PRESETS["geoclip"]
    location, objective = preset.build_location(0), preset.build_objective(0)
    assert (location.dim, location.feature_dim) == (512, 3 * 512)
    assert objective.queued.shape == (4096, 2)
    assert objective.learns_scale
    settings = preset.pretrain
    assert (settings.learning_rate, settings.decay, settings.weight_decay) == (3e-5, 0.87, 1e-6)
    assert preset.image.encoder == "transformers:openai/clip-vit-large-patch14"


def test_sinr_learns_from_labels_alone():
    preset = PRESETS["sinr"]
    objective = preset.build_objective(0, Sizes(256, classes=7))
    assert objective.class_matrix.weight.shape == (7, 256)
    assert objective.positive_weight == 2048
    assert not objective.uses_images
    settings = preset.pretrain
    assert (settings.epochs, settings.batch_size) == (10, 2048)
    assert (settings.learning_rate, settings.decay) == (5e-4, 0.98)
    assert preset.per_class == 1000
    with pytest.raises(ValueError, match="missing a required argument: 'dim'"):
        preset.build_objective(0)


def test_sizes_are_filled_in_also_within_a_sum_but_do_not_replace_what_is_said():
    members = [
        {"name": "clip", "weight": 2.0},
        {"name": "an-full", "settings": {"classes": 4}},
        {"name": "photographer"},
    ]
    preset = replace(BEST, objective=Component("weighted", {"members": members}))
    parts = preset.build_objective(0, Sizes(256, classes=9, photographers=5)).objectives()
    assert parts["an-full"].class_matrix.out_features == 4
    assert parts["photographer"].class_matrix.out_features == 9
    assert parts["photographer"].photographer_matrix.out_features == 5
    regression = replace(BEST, objective=Component("mse"))
    assert regression.build_objective(0, Sizes(256, feature_dim=6)).decoder.out_features == 6


WRONG = [
    ("location: {name: nowhere}", "no location 'nowhere'; available: .*wrap"),
    (
        "location: {name: wrap, settings: {radius: 1}}",
        "Wrap with head .residual.: .*unexpected keyword argument .radius.",
    ),
    (
        "location: {name: wrap, settings: {dim: none}}",
        r"wrap\(dim=.none.\) cannot be built: .*not supported",
    ),
    ("location: {name: wrap}\nobjective: {name: guess}", "no objective 'guess'"),
    (
        "location: {name: wrap}\nobjective: {name: clip, settings: {temperature: 0}}",
        "temperature must be positive, got 0",
    ),
    (
        "location: {name: wrap}\nobjective: {name: weighted, settings: {members: [{weight: 1}]}}",
        "member 0 needs a name .*, got weight$",
    ),
    ("location: {name: wrap}\nsampler: {name: shy}", "no sampler 'shy'"),
    ("location: {nam: wrap}", r"own\.yaml: location\.name: Field required"),
    ("location: {name: wrap}\nepochs: 3", r"own\.yaml: epochs: there is no such setting"),
    ("location: {name: wrap}\npretrain: {epoch: 3}", r"pretrain\.epoch: there is no such setting"),
    ("location: {name: wrap}\npretrain: {epochs: few}", r"pretrain\.epochs: .*integer"),
    ("location: {name: wrap}\npretrain: {decay: 2}", "pretrain: decay must be above 0"),
    ("location: {name: wrap}\npretrain: {precision: int8}", r"pretrain\.precision: .*float32"),
    ("location: {name: wrap}\nhold_out: {patience: 3}", "hold_out: patience needs a share"),
    ("location: {name: wrap}\nhold_out: {share: 1}", r"hold_out: need a share held out in \[0, 1"),
    ("location: {name: wrap}\nhold_out: {share: 0.1, every: 0}", "hold_out: every and patience"),
    ("location: {name: wrap}\ntemperature: 0", "temperature must be positive"),
    ("location: {name: wrap}\nlinear: {penalty: 0}", "linear: penalty must be positive, got 0"),
    ("location: {name: wrap}\nlinear: {penalties: 1}", r"linear\.penalties: there is no such"),
    (
        "location: {name: wrap}\nlinear: {self_training: {labelled_share: -1}}",
        r"linear\.self_training: need a penalty > 0 and a share >= 0, got 100\.0 and -1",
    ),
    ("location: {name: wrap}\nper_class: 0", "per_class must be at least 1"),
    ("location: {name: wrap}\ntune: {temperature: {low: 1}}", r"tune\.temperature: low must be"),
    (
        "location: {name: wrap}\ntune: {temperature: {low: 1, high: 2, choices: [1]}}",
        "an interval, not both",
    ),
    ("location: {name: wrap}\ntune: {temperature: {low: 0, high: 1, log: true}}", "above 0 where"),
    ("objective: {name: clip}", r"own\.yaml: location: Field required"),
]


@pytest.mark.parametrize(("text", "message"), WRONG)
def test_a_wrong_file_is_one_line_that_names_it(text, message, tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        read_preset(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_settings_are_changed_by_their_paths():
    values = {
        "pretrain.epochs": 7,
        "hold_out.share": 0.2,
        "hold_out.metric": Metric.RECALL_AT_1,
        "location.settings.dropout": 0.1,
        "location.settings.hidden": 64,
        "seed": 3,
    }
    preset = changed(BEST, values)
    assert preset.pretrain == replace(BEST.pretrain, epochs=7)
    assert preset.hold_out == HoldOut(0.2, metric=Metric.RECALL_AT_1)
    expected = BEST.location.settings | {"dropout": 0.1, "hidden": 64}
    assert preset.location == Component("space2vec-grid", expected)
    assert preset.seed == 3
    assert changed(BEST, {}) == BEST
    assert value_at(preset, "pretrain.epochs") == 7
    assert value_at(preset, "location.settings.skip") is None


@pytest.mark.parametrize(
    "path", ["epochs", "pretrain.epoch", "sampler.settings.per_class", "seed.x"]
)
def test_a_path_to_nowhere_is_named(path):
    with pytest.raises(DataError, match=f"there is no setting '{path}'"):
        changed(BEST, {path: 1})
    with pytest.raises(DataError, match=f"there is no setting '{path}'"):
        value_at(BEST, path)


def test_a_change_out_of_range_is_told():
    with pytest.raises(DataError, match="the settings: pretrain: need a batch_size of at least 1"):
        changed(BEST, {"pretrain.batch_size": 0})


@parametrize
def test_what_a_search_may_try_exists_and_includes_what_the_preset_has(preset):
    for path, tried in preset.tune.items():
        assert tried.includes(value_at(preset, path)), path


def test_ranges_include_their_ends_and_choices():
    assert [Range(1, 3).includes(v) for v in (1, 2.5, 3, 4, True, "2", None)] == [
        True, True, True, False, False, False, False
    ]  # fmt: skip
    assert [Range(choices=("a", 2)).includes(v) for v in ("a", 2, 3)] == [True, True, False]
