"""What every objective in the registry promises."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from threading import Barrier

import pytest
import torch

import geocsp
from geocsp.coords import sample_sphere, unit_vectors
from geocsp.objectives import class_scores, tiles
from geocsp.objectives.base import Places, Views
from geocsp.process import Process

B, D, F, Q, U = 8, 6, 5, 4, 3
CLASSES = {"dim": D, "classes": Q}
SETTINGS = {
    "an-full": CLASSES,
    "an-slds": CLASSES,
    "an-ssdl": CLASSES,
    "clip": {},
    "cross-entropy": CLASSES,
    "csp-mc": {"negatives_per_image": 3, "symmetric": True, "mask_km": 3000.0},
    "csp-nce": {"negatives_per_image": 2},
    "geoclip": {"queue": 11, "noise_km": 5.0},
    "hard-negatives": {"negatives_per_image": 5},
    "me-full": CLASSES,
    "me-slds": CLASSES,
    "me-ssdl": CLASSES,
    "mse": {"dim": D, "feature_dim": F},
    "photographer": CLASSES | {"photographers": U},
    "presence-absence": CLASSES,
    "siglip": {},
    "simcse": {"jitter_km": 500.0},
    "soft-positives": {"width_km": 2000.0},
    "supcon": {},
    "weighted": {
        "members": [
            {"name": "csp-mc", "weight": 2.0},
            {"name": "geoclip", "settings": {"queue": 3}, "weight": 0.5},
            {"name": "an-full", "settings": CLASSES, "weight": 0.1},
            {"name": "csp-mc", "settings": {"learnable_temperature": True}},
        ]
    },
}
LABELS = torch.tensor([0, 2, 1, 1, -1, -1, 0, -1])  # more of them in one half than in the other
GROUPS = torch.tensor([1, -1, 0, 0, -1, -1, -1, -1])  # in one half only

every = pytest.mark.parametrize("name", geocsp.available("objective"))


def test_all_objectives_are_covered():
    assert sorted(SETTINGS) == geocsp.available("objective")


def random(seed):
    return torch.Generator().manual_seed(seed)


class Case:
    """An objective, the leaves of its gradients, and a batch."""

    def __init__(self, name, dtype=torch.float64):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.objective = geocsp.create("objective", name, **SETTINGS[name]).to(dtype)
        self.dtype = dtype
        self.objective.remember(sample_sphere(B, random(1)).to(dtype))
        self.weight, self.image, self.features = self.leaf(2, 3, D), self.leaf(3, B, D), None
        if self.objective.uses_features:
            self.features = self.leaf(4, B, F)
        self.scale = torch.tensor(3.0, dtype=dtype, requires_grad=True)
        self.lonlat = sample_sphere(B, random(5)).to(dtype)

    def leaf(self, seed, *shape):
        values = torch.randn(*shape, generator=random(seed), dtype=torch.float64)
        return values.to(self.dtype).requires_grad_()

    def embed(self, lonlat):
        lonlat = lonlat.to(self.dtype)
        raw = (unit_vectors(lonlat.reshape(-1, 2)) @ self.weight).sin()
        return Places.of(lonlat, raw.view(*lonlat.shape[:-1], D))

    def views(self):
        true = self.embed(self.lonlat)
        asked = self.objective.places(self.lonlat, random(6))
        uses = self.objective
        return Views(
            lonlat=self.lonlat,
            location=true.unit,
            raw_location=true.raw,
            scale=self.scale,
            features=self.features,
            image=torch.nn.functional.normalize(self.image, dim=1) if uses.uses_images else None,
            extra={key: self.embed(places) for key, places in asked.items()},
            labels=LABELS if uses.uses_labels else None,
            groups=GROUPS if uses.uses_groups else None,
        )

    def gradients(self, loss):
        leaves = [self.weight, self.image, self.scale, *self.objective.parameters()]
        leaves += [] if self.features is None else [self.features]
        found = torch.autograd.grad(loss, leaves, allow_unused=True, retain_graph=True)
        return [
            torch.zeros_like(leaf) if gradient is None else gradient
            for leaf, gradient in zip(leaves, found, strict=True)
        ]

    def assert_same(self, loss, expected, tolerance=1e-10):
        close = {"atol": tolerance, "rtol": tolerance}
        torch.testing.assert_close(loss, expected, **close)
        pairs = zip(self.gradients(loss), self.gradients(expected), strict=True)
        for gradient, wanted in pairs:
            torch.testing.assert_close(gradient, wanted, **close)


def rows_of(views, rows, **changes):
    """Some rows of a batch; places of no image stay."""

    def some(value):
        return None if value is None else value[rows]

    extra = {
        key: Places(*(v[rows] if p.lonlat.ndim == 3 else v for v in (p.lonlat, p.raw, p.unit)))
        for key, p in views.extra.items()
    }
    return replace(
        views,
        lonlat=some(views.lonlat),
        location=some(views.location),
        raw_location=some(views.raw_location),
        features=some(views.features),
        image=some(views.image),
        labels=some(views.labels),
        groups=some(views.groups),
        extra=extra,
        **changes,
    )


@every
def test_loss_and_gradients_are_finite(name):
    case = Case(name)
    parts = case.objective(case.views())
    assert all(value.shape == () and bool(value.isfinite()) for value in parts.values())
    gradients = case.gradients(parts["loss"])
    assert all(bool(gradient.isfinite().all()) for gradient in gradients)
    assert float(gradients[0].abs().max()) > 0  # the location encoder learns
    assert bool(gradients[1].any()) == case.objective.uses_images
    assert bool(gradients[2].any()) == case.objective.learns_scale


@every
def test_parts_are_detached(name):
    case = Case(name)
    parts = case.objective(case.views())
    assert parts.pop("loss").requires_grad
    assert not any(value.requires_grad for value in parts.values())


@every
def test_the_order_of_rows_does_not_matter(name):
    case = Case(name)
    views = case.views()
    order = torch.randperm(B, generator=random(7))
    case.assert_same(case.objective(rows_of(views, order))["loss"], case.objective(views)["loss"])


@every
def test_matched_pairs_score_better_than_shuffled_ones(name):
    case = Case(name)
    views = case.views()
    if case.objective.uses_features:
        matched = case.objective.decoder(views.raw_location)
        better, worse = (replace(views, features=f) for f in (matched, matched.roll(1, 0)))
    elif case.objective.uses_images:
        better, worse = (
            replace(views, image=x) for x in (views.location, views.location.roll(1, 0))
        )
    else:
        pytest.skip("uses no images")
    assert bool(case.objective(better)["loss"] < case.objective(worse)["loss"])


@every
def test_in_small_parts_it_is_the_same(name, monkeypatch):
    case = Case(name)
    whole = case.objective(case.views())["loss"]
    monkeypatch.setattr(tiles, "TILINGS", {"cpu": tiles.Tiling(rows=3, columns=2, elements=20)})
    monkeypatch.setattr(class_scores, "SCORES_AT_ONCE", 2 * Q)
    case.assert_same(case.objective(case.views())["loss"], whole)


@every
def test_the_state_holds_everything(name):
    case = Case(name)
    again = Case(name)
    for tensor in [*again.objective.parameters(), *again.objective.buffers()]:
        tensor.data.zero_()
    again.objective.load_state_dict(case.objective.state_dict())
    loss = case.objective(case.views())["loss"]
    assert torch.equal(again.objective(again.views())["loss"], loss)


@every
def test_places_follow_from_the_generator(name):
    case = Case(name)
    asked, again, other = (case.objective.places(case.lonlat, random(s)) for s in (1, 1, 2))
    assert list(asked) == list(again) == list(other)
    for key, places in asked.items():
        assert torch.equal(places, again[key])
        assert places.shape[-1] == 2
        assert places.ndim == 2 or len(places) == B
        geocsp.coords.check_lonlat(places.reshape(-1, 2))


@every
def test_bfloat16_autocast_is_close(name):
    case = Case(name, torch.float32)
    views = case.views()
    exact = case.objective(views)["loss"]
    with torch.autocast("cpu", torch.bfloat16):
        rounded = case.objective(views)["loss"]
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded, exact, rtol=0.02, atol=0.02)


class Meeting:
    """Where two threads that play processes hand each other what they have."""

    def __init__(self):
        self.slots, self.barrier = [None, None], Barrier(2, timeout=20)

    def exchange(self, rank, rows):
        self.slots[rank] = rows
        self.barrier.wait()
        both = list(self.slots)
        self.barrier.wait()
        return both


@dataclass(frozen=True)
class Half(Process):
    world: int = 2
    meeting: Meeting | None = None

    def gather(self, rows):
        return torch.cat(self.meeting.exchange(self.rank, rows))


@every
def test_two_processes_are_one(name):
    case = Case(name)
    views, meeting = case.views(), Meeting()

    def run(rank):
        process = Half(rank=rank, meeting=meeting)
        return case.objective(rows_of(views, process.own(B), process=process))

    with ThreadPoolExecutor(2) as threads:
        first, second = threads.map(run, range(2))
    whole = case.objective(views)
    assert list(first) == list(second) == list(whole)
    for part in whole:
        torch.testing.assert_close((first[part] + second[part]) / 2, whole[part])
    case.assert_same((first["loss"] + second["loss"]) / 2, whole["loss"])
