"""Losses over all pairs against slow loops, and in tiles against the whole."""

import math

import pytest
import torch
from torch.nn import functional as F

from geocsp.objectives import tiles
from geocsp.objectives.pairs import sigmoid_pairs, softmax_pairs
from geocsp.objectives.tiles import Similarities, Tiling

TINY = [Tiling(3, 2, 5), Tiling(4, 5, 1000), Tiling(2, 100, 1)]


def made(queries, keys, *, scale=3.0, seed=0, dtype=torch.float64, dim=5):
    """Unit vectors and a scale, as leaves."""
    g = torch.Generator().manual_seed(seed)
    q, k = (
        F.normalize(torch.randn(n, dim, generator=g, dtype=dtype), dim=1).requires_grad_()
        for n in (queries, keys)
    )
    return q, k, torch.tensor(scale, dtype=dtype, requires_grad=True)


def masked(queries, keys, own=0, seed=1):
    """Some pairs, none of them own ones; symmetric if square."""
    mask = torch.rand(queries, keys, generator=torch.Generator().manual_seed(seed)) < 0.3
    if queries == keys:
        mask |= mask.T.clone()
    mask.diagonal(own)[:queries] = False
    assert mask.any()
    return mask


def looked_up(matrix):
    return lambda rows: matrix[rows]


def slow_softmax(q, k, scale, weights, mask=None):
    total = 0.0
    for i in range(len(q)):
        if not weights[i].any():
            continue
        logits = [scale * sum(q[i, d] * k[j, d] for d in range(q.shape[1])) for j in range(len(k))]
        left = [j for j in range(len(k)) if mask is None or not mask[i, j]]
        logsum = torch.log(sum(torch.exp(logits[j]) for j in left))
        total = total + sum(weights[i, j] * (logsum - logits[j]) for j in left if weights[i, j] > 0)
    return total / len(q)


def own_weights(queries, keys, own=0):
    weights = torch.zeros(queries, keys, dtype=torch.float64)
    weights.diagonal(own)[:queries] = 1
    return weights


def slow_sigmoid(q, k, scale, bias, own=0, others=1.0, eps=0.0, mask=None):
    total = 0.0
    for i in range(len(q)):
        for j in range(len(k)):
            z = scale * sum(q[i, d] * k[j, d] for d in range(q.shape[1])) + bias
            if j == own + i:
                total = total - torch.log(1 / (1 + torch.exp(-z)) + eps)
            elif mask is None or not mask[i, j]:
                total = total - others * torch.log(1 / (1 + torch.exp(z)) + eps)
    return total / len(q)


def assert_same(fast, slow, leaves, tolerance=1e-9):
    torch.testing.assert_close(fast, slow, atol=tolerance, rtol=tolerance)
    ours = torch.autograd.grad(3 * fast, leaves, retain_graph=True)
    theirs = torch.autograd.grad(3 * slow, leaves, retain_graph=True)
    for a, b in zip(ours, theirs, strict=True):
        assert a.dtype == b.dtype
        assert float(b.abs().max()) > 0
        torch.testing.assert_close(a, b, atol=tolerance, rtol=tolerance)


@pytest.fixture(params=[None, *TINY], ids=["whole", "tiles", "wide", "rows"])
def _tiling(request, monkeypatch):
    if request.param:
        monkeypatch.setitem(tiles.TILINGS, "cpu", request.param)


SCALES = [1.0, 20.0, 60.0, 150.0]
"""The last two are beyond what powers of a common peak can hold."""


@pytest.mark.usefixtures("_tiling")
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("excluding", [False, True])
@pytest.mark.parametrize(("queries", "keys", "own"), [(7, 7, 0), (5, 13, 4)])
def test_softmax_pairs_equals_its_formula(scale, excluding, queries, keys, own):
    q, k, s = made(queries, keys, scale=scale)
    mask = masked(queries, keys, own) if excluding else None
    fast = softmax_pairs(q, k, s, own=own, excluded=looked_up(mask) if excluding else None)
    slow = slow_softmax(q, k, s, own_weights(queries, keys, own), mask)
    assert_same(fast, slow, [q, k, s])


@pytest.mark.usefixtures("_tiling")
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("excluding", [False, True])
def test_softmax_pairs_with_targets_equals_its_formula(scale, excluding):
    q, k, s = made(6, 8, scale=scale)
    weights = torch.rand(6, 8, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    mask = masked(6, 8) if excluding else torch.zeros(6, 8, dtype=torch.bool)
    weights = (weights * ~mask).masked_fill(weights < 0.3, 0)
    weights[3] = 0  # a query without weights costs nothing, even if nothing is left to compare with
    mask[3] = excluding
    weights = weights / weights.sum(1, keepdim=True).clamp_min(1e-9)
    fast = softmax_pairs(
        q,
        k,
        s,
        targets=looked_up(weights),
        excluded=looked_up(mask) if excluding else None,
    )
    assert_same(fast, slow_softmax(q, k, s, weights, mask), [q, k, s])
    (by_query,) = torch.autograd.grad(softmax_pairs(q, k, s, targets=looked_up(weights)), q)
    assert not by_query[3].any()


@pytest.mark.usefixtures("_tiling")
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("excluding", [False, True])
def test_both_ways_is_the_mean_of_each_way(scale, excluding):
    q, k, s = made(7, 7, scale=scale)
    mask = masked(7, 7) if excluding else None
    excluded = looked_up(mask) if excluding else None
    both = softmax_pairs(q, k, s, excluded=excluded, both_ways=True)
    each = [softmax_pairs(*way, s, excluded=excluded) for way in ((q, k), (k, q))]
    assert_same(both, sum(each) / 2, [q, k, s])
    diagonal = own_weights(7, 7)
    slow = slow_softmax(q, k, s, diagonal, mask) + slow_softmax(k, q, s, diagonal, mask)
    assert_same(both, slow / 2, [q, k, s])


@pytest.mark.usefixtures("_tiling")
@pytest.mark.parametrize("scale", [60.0, 150.0])
def test_both_ways_of_partners_that_agree_shares_large_powers(scale):
    q, k, s = made(7, 7, scale=scale)
    k = F.normalize(q + 0.3 * k, dim=1).detach().requires_grad_()
    both = softmax_pairs(q, k, s, both_ways=True)
    each = softmax_pairs(q, k, s) + softmax_pairs(k, q, s)
    assert_same(both, each / 2, [q, k, s])


@pytest.mark.usefixtures("_tiling")
@pytest.mark.parametrize("eps", [0.0, 1e-5, 0.1])
@pytest.mark.parametrize("excluding", [False, True])
@pytest.mark.parametrize(("scale", "bias"), [(1.0, 0.0), (10.0, -10.0), (30.0, 5.0)])
def test_sigmoid_pairs_equals_its_formula(eps, excluding, scale, bias):
    q, k, s = made(5, 8, scale=scale)
    b = torch.tensor(bias, dtype=torch.float64, requires_grad=True)
    mask = masked(5, 8, own=2) if excluding else None
    fast = sigmoid_pairs(
        q,
        k,
        s,
        b,
        own=2,
        others=0.7,
        epsilon=eps,
        excluded=looked_up(mask) if excluding else None,
    )
    slow = slow_sigmoid(q, k, s, b, own=2, others=0.7, eps=eps, mask=mask)
    assert_same(fast, slow, [q, k, s, b], tolerance=1e-8)


def plain_softmax(q, k, s):
    return F.cross_entropy(q @ k.T * s, torch.arange(len(q)))


def plain_sigmoid(q, k, s):
    signs = 2 * torch.eye(len(q), dtype=q.dtype) - 1
    return -F.logsigmoid(signs * (q @ k.T * s - 10)).sum() / len(q)


FORMULAS = {
    "one way": (softmax_pairs, plain_softmax),
    "both ways": (
        lambda q, k, s: softmax_pairs(q, k, s, both_ways=True),
        lambda q, k, s: (plain_softmax(q, k, s) + plain_softmax(k, q, s)) / 2,
    ),
    "sigmoid": (lambda q, k, s: sigmoid_pairs(q, k, s, -10.0), plain_sigmoid),
}


def agreeing(count, scale, dtype=torch.float32):
    """Queries and keys of partners that lie close together, as after training."""
    q, k, s = made(count, count, scale=scale, dtype=torch.float64, dim=32)
    k = F.normalize(0.5 * q + k, dim=1)
    return [x.detach().to(dtype).requires_grad_() for x in (q, k, s)]


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize("scale", [1.0, 14.0, 100.0])
def test_float32_is_right_to_a_hundred_thousandth(name, scale, monkeypatch):
    monkeypatch.setitem(tiles.TILINGS, "cpu", Tiling(128, 200, 2**26))
    fast, plain = FORMULAS[name]
    inputs = agreeing(700, scale)
    doubles = [x.detach().double().requires_grad_() for x in inputs]
    loss, expected = fast(*inputs), plain(*doubles)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    for a, b in zip(
        torch.autograd.grad(loss, inputs), torch.autograd.grad(expected, doubles), strict=True
    ):
        assert a.dtype == torch.float32
        assert float((a - b).abs().max()) <= 1e-5 * float(b.abs().max())


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize("scale", [1.0, 14.0, 100.0])
def test_bfloat16_is_right_to_a_hundredth(name, scale):
    fast, plain = FORMULAS[name]
    inputs = agreeing(700, scale)
    doubles = [x.detach().double().requires_grad_() for x in inputs]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = fast(*inputs)
    expected = plain(*doubles)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(expected.item(), rel=0.01)
    for a, b in zip(
        torch.autograd.grad(loss, inputs), torch.autograd.grad(expected, doubles), strict=True
    ):
        assert a.dtype == torch.float32
        assert float((a - b).norm()) <= 0.02 * float(b.norm())


def test_bfloat16_multiplies_in_bfloat16_and_nothing_else(monkeypatch):
    used = set()
    product = tiles.add_product

    def watched(into, a, b):
        used.add((into.dtype, a.dtype, b.dtype))
        product(into, a, b)

    monkeypatch.setattr(tiles, "add_product", watched)
    monkeypatch.setattr("geocsp.objectives.softmax.add_product", watched)
    inputs = agreeing(20, 3.0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for loss, _ in FORMULAS.values():
            loss(*inputs)
    assert used == {(torch.float32, torch.bfloat16, torch.bfloat16)}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_float64_stays_float64_under_autocast(dtype):
    q, k, s = made(6, 6)
    with torch.autocast("cpu", dtype=dtype):
        loss = softmax_pairs(q, k, s)
    assert torch.equal(loss, softmax_pairs(q, k, s))


def test_halves_get_their_gradients_as_halves():
    q, k, s = (x.detach().bfloat16().requires_grad_() for x in made(6, 6))
    gradients = torch.autograd.grad(softmax_pairs(q, k, s), [q, k, s])
    assert {g.dtype for g in gradients} == {torch.bfloat16}


@pytest.mark.parametrize("name", FORMULAS)
def test_no_gradients_where_none_are_wanted(name):
    loss, plain = FORMULAS[name]
    q, k, s = made(6, 6)
    with torch.no_grad():
        value = loss(q, k, s)
    assert not value.requires_grad
    torch.testing.assert_close(value, plain(q, k, s).detach())
    assert not loss(q.detach(), k.detach(), s.detach()).requires_grad
    assert loss(q, k, 3.0).item() == pytest.approx(value.item())
    (by_keys,) = torch.autograd.grad(loss(q.detach(), k, 3.0), k)
    torch.testing.assert_close(by_keys, torch.autograd.grad(plain(q, k, s), k)[0])


@pytest.mark.parametrize("name", FORMULAS)
def test_a_row_that_is_not_a_number_shows_in_the_loss(name):
    q, k, s = made(6, 6)
    broken = k.detach().clone()
    broken[2, 1] = torch.nan
    assert math.isnan(FORMULAS[name][0](q, broken, s).item())


@pytest.mark.parametrize(
    ("settings", "keys"),
    [({"own": 1}, 6), ({}, 7), ({"targets": lambda rows: torch.ones(6, 6)[rows]}, 6)],
)
def test_both_ways_needs_matching_pairs(settings, keys):
    q, k, s = made(6, keys)
    with pytest.raises(ValueError, match=f"got 6 queries, {keys} keys"):
        softmax_pairs(q, k, s, both_ways=True, **settings)


@pytest.mark.parametrize("tiling", [*tiles.TILINGS.values(), tiles.LARGE])
@pytest.mark.parametrize("keys", [1, 1000, 65_536, 1_000_000])
def test_memory_of_a_block_is_bounded(tiling, keys):
    assert 1 <= tiling.block(keys) <= tiling.rows
    assert tiling.block(keys) * keys <= tiling.elements
    assert tiling.block(8192) == tiling.rows


@pytest.mark.parametrize("keep", [False, True])
def test_tiles_use_the_same_memory_again_unless_kept(keep, monkeypatch):
    monkeypatch.setitem(tiles.TILINGS, "cpu", Tiling(4, 20, 160))
    q, k, s = made(40, 40)
    seen = Similarities(q.detach(), k.detach(), s.detach(), fast=torch.float64)
    places, sizes = set(), []
    for rows in seen.blocks():
        for columns, tile in seen.tiles(rows, keep=keep):
            places.add(tile.data_ptr())
            sizes.append(tile.numel())
            expected = s * q[rows] @ k[columns].T
            own = torch.arange(40)[rows, None] == torch.arange(40)[columns]
            torch.testing.assert_close(tile, expected.masked_fill(own, -torch.inf).detach())
    assert sum(sizes) == 40 * 40
    assert max(sizes) == 80
    assert len(places) == (20 if keep else 2)


@pytest.mark.parametrize("scale", [100.0, 150.0])
def test_a_large_scale_stays_finite_and_exact(scale):
    g = torch.Generator().manual_seed(0)
    q = F.normalize(torch.randn(40, 8, generator=g), dim=1)
    k = F.normalize(q + 0.1 * torch.randn(40, 8, generator=g), dim=1)
    exact = scale * q.double() @ k.double().T
    own = torch.arange(40)
    expected = (F.cross_entropy(exact, own) + F.cross_entropy(exact.T, own)) / 2
    found = softmax_pairs(q, k, scale, both_ways=True)
    torch.testing.assert_close(found.double(), expected, atol=1e-4, rtol=1e-4)
