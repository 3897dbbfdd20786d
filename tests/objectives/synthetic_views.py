"""Views made of random numbers, with a differentiable location encoder, in float64."""

from dataclasses import replace

import torch

from geocsp.coords import sample_sphere, unit_vectors
from geocsp.objectives.base import Places, Views

B, D, F = 7, 5, 6


class Made:
    """Leaves that gradients are taken of, and the views that follow from them."""

    def __init__(self, objective, *, seed=0, lonlat=None, labels=None, groups=None, steps=0):
        self.random = torch.Generator().manual_seed(seed)
        self.objective = objective.double()
        self.lonlat = self.places() if lonlat is None else lonlat
        self.weight = self.leaf(3, D)
        self.image = self.leaf(B, D)
        self.features = self.leaf(B, F)
        self.scale = torch.tensor(3.7, dtype=torch.float64, requires_grad=True)
        for _ in range(steps):
            objective.remember(self.places())
        asked = objective.places(self.lonlat, self.random)
        raw = self.encode(self.lonlat)
        self.views = Views(
            lonlat=self.lonlat,
            location=unit(raw),
            raw_location=raw,
            scale=self.scale,
            features=self.features,
            image=unit(self.image),
            extra={name: self.embed(places) for name, places in asked.items()},
            labels=labels,
            groups=groups,
        )

    @property
    def leaves(self):
        own = [p for p in self.objective.parameters() if p.requires_grad]
        return [self.weight, self.image, self.features, self.scale, *own]

    def leaf(self, *shape):
        values = torch.randn(*shape, generator=self.random, dtype=torch.float64)
        return values.requires_grad_()

    def places(self):
        return sample_sphere(B, self.random).double()

    def encode(self, lonlat):
        return (unit_vectors(lonlat) @ self.weight).sin()

    def embed(self, places):
        places = places.double()
        return Places.of(places, self.encode(places.reshape(-1, 2)).view(*places.shape[:-1], D))

    def with_(self, **changes):
        return replace(self.views, **changes)


def unit(x):
    return x / x.norm(dim=-1, keepdim=True)


def dot(a, b):
    return sum(a[k] * b[k] for k in range(len(a)))


def sigmoid(x):
    return 1 / (1 + torch.exp(-x))


def assert_same(fast, slow, leaves):
    """Equal values and gradients."""
    torch.testing.assert_close(fast, slow, atol=1e-10, rtol=1e-10)
    fast_gradients = torch.autograd.grad(fast, leaves, allow_unused=True, retain_graph=True)
    slow_gradients = torch.autograd.grad(slow, leaves, allow_unused=True)
    compared = 0
    for leaf, a, b in zip(leaves, fast_gradients, slow_gradients, strict=True):
        a, b = (torch.zeros_like(leaf) if g is None else g for g in (a, b))
        torch.testing.assert_close(a, b, atol=1e-8, rtol=1e-8)
        compared += int(b.abs().max() > 0)
    assert compared > 0


def slow_an_full(v, weight, labels, positive, eps):
    """Parts seen and random of AN-full, by a loop."""
    classes = len(weight)

    def nll(p):
        return -torch.log(p + eps)

    known = [i for i in range(B) if labels[i] >= 0]
    seen = random = 0.0
    for i in known:
        for c in range(classes):
            p = sigmoid(dot(v.raw_location[i], weight[c]))
            seen = seen + (positive * nll(p) if c == labels[i] else nll(1 - p))
    for i in range(B):
        for c in range(classes):
            random = random + nll(1 - sigmoid(dot(v.extra["random"].raw[i, 0], weight[c])))
    return seen / (len(known) * classes), random / (B * classes)
