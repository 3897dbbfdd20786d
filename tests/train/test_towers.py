import pytest
import torch
from small_runs import FEATURES, PLACES, model
from torch.nn import functional as F

import geocsp
from geocsp import GeoModel, Precision, PretrainSettings
from geocsp.coords import sample_sphere
from geocsp.objectives import Clip, CspMc, MeanSquaredError, Objective
from geocsp.objectives.geoclip import GeoClip
from geocsp.process import ALONE, Process
from geocsp.train.feeds import MemoryFeed, NoFeed
from geocsp.train.randomness import Stream, derived_seed, generator
from geocsp.train.towers import Batch, Passes, Towers

ROWS = torch.arange(100)


class FreePlaces(Objective):
    """Images far from the embeddings of some places of no image."""

    def places(self, lonlat, generator):
        return {"free": sample_sphere(37, generator)}

    def forward(self, views):
        free = views.extra["free"]
        assert free.lonlat.shape == (37, 2)
        return {"loss": (views.image @ free.unit.T).logsumexp(1).mean() + free.raw.square().mean()}


def filled_queue():
    objective = GeoClip(queue=50)
    objective.remember(PLACES[100:140])
    return objective


OBJECTIVES = {
    "csp-mc": lambda: CspMc(negatives_per_image=2),
    "csp-mc-symmetric": lambda: CspMc(symmetric=True, learnable_temperature=True, mask_km=1000),
    "clip": Clip,
    "mse": lambda: MeanSquaredError(dim=8, feature_dim=6),
    "free": FreePlaces,
    "geoclip": filled_queue,
}


def batch(rows=ROWS, dtype=torch.float32, **more):
    feed = MemoryFeed(FEATURES.to(dtype))
    return Batch(next(iter(feed.stream([rows]))), PLACES[rows].to(dtype), **more)


def look(trained, objective, micro_batch=None, *, step=3, given=None, process=ALONE, **more):
    settings = PretrainSettings(micro_batch=micro_batch, **more)
    towers = Towers(trained.train(), objective, settings, seed=0, process=process)
    return towers, towers.look(batch() if given is None else given, step)


def gradients(trained, objective, micro_batch, dtype=torch.float32):
    """The loss and its gradient by every weight."""
    trained, objective = trained.to(dtype), objective.to(dtype)
    towers, views = look(trained, objective, micro_batch, given=batch(dtype=dtype))
    loss = objective(views)["loss"]
    loss.backward()
    towers.finish()
    named = [*trained.named_parameters(), *objective.named_parameters()]
    return {"loss": loss.detach()} | {n: p.grad for n, p in named if p.grad is not None}


def assert_same(got, expected, within):
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(got[name], value, rtol=within, atol=within, msg=name)


@pytest.mark.parametrize("micro_batch", [1, 20, 33, 100, 10_000])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_passes_in_parts_give_the_gradient_of_the_whole_batch(name, micro_batch):
    torch.manual_seed(0)
    objective = OBJECTIVES[name]()
    for dtype, within in ((torch.float32, 1e-5), (torch.float64, 1e-10)):
        whole = gradients(model(dropout=0.0), objective, None, dtype)
        assert len(whole) > 5
        objective.zero_grad()
        assert_same(gradients(model(dropout=0.0), objective, micro_batch, dtype), whole, within)
        objective.zero_grad()


def test_dropout_masks_are_the_same_in_both_passes(monkeypatch):
    cached = gradients(model(dropout=0.5), CspMc(), 32)
    torch.rand(5)  # the global state is nothing that masks depend on

    def with_graph(self):
        return torch.cat([self._pass(number) for number in range(len(self._parts))])

    monkeypatch.setattr(Passes, "forward", with_graph)
    expected = gradients(model(dropout=0.5), CspMc(), 32)
    assert_same(cached, expected, 1e-6)
    assert not torch.allclose(cached["loss"], gradients(model(dropout=0.0), CspMc(), 32)["loss"])


def test_masks_differ_between_steps_processes_and_parts():
    twice = batch(torch.cat([ROWS[:50], ROWS[:50]]))

    def location(step, process=ALONE, **more):
        settings = PretrainSettings(**more)
        towers = Towers(model().train(), FreePlaces(), settings, seed=0, process=process)
        own = next(iter(MemoryFeed(FEATURES).stream([ROWS[: 100 // process.world]])))
        return towers.look(Batch(own, twice.lonlat), step).location

    assert torch.equal(location(3), location(3))
    assert not torch.allclose(location(3), location(4))
    assert not torch.allclose(location(3, Process(0, 2)), location(3, Process(1, 2)))
    parts = location(3, micro_batch=50)
    assert not torch.allclose(parts[:50], parts[50:])


def test_a_frozen_tower_gets_no_gradient():
    trained, objective = model(dropout=0.0), Clip()
    trained.projection.requires_grad_(False)
    got = gradients(trained, objective, 30)
    assert not any(name.startswith("projection") for name in got)
    assert "location.network.output.weight" in got


def test_only_what_an_objective_needs_is_embedded():
    _, bare = look(model(), CspMc(random_location=0, dropout=0))
    assert bare.extra == {}
    assert bare.features is None
    assert bare.image.shape == (100, 8)
    _, full = look(model(), CspMc(negatives_per_image=3))
    assert full.extra["random"].raw.shape == full.extra["random"].unit.shape == (100, 3, 8)
    assert full.extra["random"].lonlat.shape == (100, 3, 2)
    assert full.extra["again"].unit.shape == (100, 1, 8)
    _, regression = look(model(), MeanSquaredError(dim=8, feature_dim=6))
    assert regression.image is None
    assert torch.equal(regression.features, FEATURES[ROWS])


def test_extra_embeddings_are_those_of_their_places():
    trained = model(dropout=0.0)
    _, full = look(trained, CspMc(negatives_per_image=2))
    random = full.extra["random"]
    expected = trained.location(random.lonlat.flatten(0, 1)).view(100, 2, 8)
    torch.testing.assert_close(random.raw, expected)
    torch.testing.assert_close(random.unit, F.normalize(expected, dim=-1))
    torch.testing.assert_close(full.extra["again"].unit[:, 0], full.location)
    torch.testing.assert_close(full.location, trained.encode_location(PLACES[ROWS]))
    torch.testing.assert_close(full.image, trained.encode_image(FEATURES[ROWS]))


def test_the_second_view_has_its_own_dropout_mask():
    _, full = look(model(), CspMc())
    again = full.extra["again"].unit[:, 0]
    assert not torch.allclose(full.location, again)
    assert float((full.location * again).sum(dim=1).detach().mean()) > 0.3


def test_places_are_drawn_from_the_seed_and_the_step():
    _, views = look(model(), CspMc(negatives_per_image=2), step=7)
    draws = generator(0, Stream.PLACES, 7)
    expected = CspMc(negatives_per_image=2).places(PLACES[ROWS], draws)["random"]
    assert torch.equal(views.extra["random"].lonlat, expected)


@pytest.mark.parametrize("objective", [CspMc(negatives_per_image=2), FreePlaces()])
def test_a_process_embeds_its_own_rows_and_all_free_places(objective):
    trained = model(dropout=0.0)
    _, whole = look(trained, objective)
    for rank in (0, 1):
        process = Process(rank, 2)
        own = process.own(100)
        features = next(iter(MemoryFeed(FEATURES).stream([ROWS[own]])))
        labels = torch.arange(100)
        objective.uses_labels = True
        _, share = look(
            trained, objective, given=Batch(features, PLACES[ROWS], labels=labels), process=process
        )
        assert torch.equal(share.labels, labels[own])
        torch.testing.assert_close(share.location, whole.location[own])
        torch.testing.assert_close(share.image, whole.image[own])
        for name, places in whole.extra.items():
            expected = places.raw[own] if places.raw.ndim == 3 else places.raw
            torch.testing.assert_close(share.extra[name].raw, expected)


def with_time():
    torch.manual_seed(0)
    location = geocsp.create("location", "xyz", dim=8, dropout=0.0, date_harmonics=1)
    return GeoModel(location, feature_dim=6)


def test_places_of_an_image_have_its_time_and_free_places_have_none():
    trained, time = with_time(), torch.rand(100, 2)
    _, views = look(trained, CspMc(negatives_per_image=2), given=batch(time=time))
    random = views.extra["random"]
    expected = trained.location(random.lonlat.flatten(0, 1), time.repeat_interleave(2, dim=0))
    torch.testing.assert_close(random.raw.flatten(0, 1), expected)
    torch.testing.assert_close(views.raw_location, trained.location(PLACES[ROWS], time))
    _, views = look(trained, FreePlaces(), given=batch(time=time))
    free = views.extra["free"]
    torch.testing.assert_close(free.raw, trained.location(free.lonlat))


@pytest.mark.parametrize("precision", [Precision.BFLOAT16, Precision.FLOAT16])
def test_positions_reach_the_network_at_full_precision(precision):
    trained, seen = model(dropout=0.0), []
    trained.location.network.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    _, views = look(trained, CspMc(random_location=0, dropout=0), precision=precision)
    exact = trained.location.features(PLACES[ROWS].double())
    assert torch.equal(seen[0], exact.float())
    assert views.raw_location.dtype == views.image.dtype == torch.float32
    lengths = views.location.detach().norm(dim=1)
    torch.testing.assert_close(lengths, torch.ones(100), atol=1e-6, rtol=0)
    full = trained.location(PLACES[ROWS]).detach()
    assert not torch.equal(views.raw_location, full)
    torch.testing.assert_close(views.raw_location.detach(), full, atol=0.05, rtol=0.05)


def test_seeds_of_parts_are_the_seed_of_the_step_and_their_number():
    seeds = []
    feed = next(iter(NoFeed(100).stream([ROWS])))

    class Recording:
        def take(self, part, seed):
            seeds.append((part.start, part.stop, seed))
            return FEATURES[ROWS][part]

    assert feed.take(slice(0, 3), 0).shape == (3, 0)
    trained, objective = model(), Clip()
    towers, views = look(trained, objective, 40, given=Batch(Recording(), PLACES[ROWS]))
    objective(views)["loss"].backward()
    towers.finish()
    first = derived_seed(0, Stream.IMAGE, 3, 0)
    parts = [(0, 40, first), (40, 80, first + 1), (80, 100, first + 2)]
    assert seeds == parts * 2
