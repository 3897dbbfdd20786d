import json
from dataclasses import asdict

import pytest
import torch
from pydantic import TypeAdapter

from geocsp.coords import sample_sphere
from geocsp.errors import DataError
from geocsp.objectives import NegativeSampling
from geocsp.presets import BEST, PAPER, PRESETS, RELEASE, Preset

PLACES = sample_sphere(5, torch.Generator().manual_seed(0))


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_a_preset_builds_the_same_parts_for_the_same_seed(preset):
    first, again, other = (preset.build_model(12, seed).embed(PLACES) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    prior = preset.build_prior(("a", "b"), 0, preset.build_model(12, 1))
    assert torch.equal(prior.embed(PLACES), other)
    assert torch.equal(preset.build_prior(("a", "b"), 0).embed(PLACES), first)
    assert preset.build_objective(0)


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_a_preset_can_be_written_down(preset):
    assert json.loads(json.dumps(asdict(preset)))["location"]["name"] == "space2vec-grid"


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
    assert PAPER.pretrain.negatives is NegativeSampling.SPHERE
    assert RELEASE.pretrain.negatives is NegativeSampling.LEGACY_DISC
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
    from dataclasses import replace

    with pytest.raises(ValueError, match="labels alone"):
        replace(PAPER, objective=None).build_objective(0)


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_a_preset_comes_back_from_json(preset):
    written = json.dumps(asdict(preset))
    assert TypeAdapter(Preset).validate_python(json.loads(written)) == preset


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
    assert objective.negatives_per_image == 0
    assert not objective.second_view
    assert 0 < BEST.finetune.location_rate < 1
    assert BEST.standardise
    assert BEST.aligned_image


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
