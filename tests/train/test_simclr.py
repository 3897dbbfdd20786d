import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from geocsp.errors import DataError
from geocsp.train.simclr import ImageProjection, SimCLRSettings, nt_xent, pretrain_images

SHORT = SimCLRSettings(epochs=8, batch_size=64, dim=16, learning_rate=3e-3)


def units(count, dim, seed):
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(count, dim, generator=generator, dtype=torch.float64), dim=1)


def synthetic_views(count=200, views=3, noise=3.0):
    """What an image is lies in 8 features; 24 others are noise that changes with the view."""
    generator = torch.Generator().manual_seed(0)
    kept = torch.randn(count, 8, generator=generator).expand(views, -1, -1)
    changing = noise * torch.randn(views, count, 24, generator=generator)
    return torch.cat([kept, changing], dim=2) * 5 + 40


def slow_nt_xent(first, second, temperature):
    """Equation 1, view by view."""
    views = torch.cat([first, second])
    count, losses = len(first), []
    for i in range(2 * count):
        partner = (i + count) % (2 * count)
        terms = [(views[i] @ views[k] / temperature).exp() for k in range(2 * count) if k != i]
        losses.append(-((views[i] @ views[partner] / temperature).exp() / sum(terms)).log())
    return sum(losses) / len(losses)


@pytest.mark.parametrize("count", [1, 2, 5, 33])
@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_the_loss_and_its_gradient_are_those_of_a_slow_loop(count, temperature):
    pairs = [[units(count, 7, seed).requires_grad_() for seed in (1, 2)] for _ in range(2)]
    ours, slow = nt_xent(*pairs[0], temperature), slow_nt_xent(*pairs[1], temperature)
    torch.testing.assert_close(ours, slow)
    ours.backward()
    slow.backward()
    for fast, plain in zip(*pairs, strict=True):
        torch.testing.assert_close(fast.grad, plain.grad)


def test_the_loss_over_several_tiles_in_single_precision():
    first, second = (units(1500, 8, seed).float().requires_grad_() for seed in (1, 2))
    loss = nt_xent(first, second, 0.1)
    views = torch.cat([first, second])
    logits = (views @ views.T / 0.1).fill_diagonal_(-torch.inf)
    expected = F.cross_entropy(logits, (torch.arange(3000) + 1500) % 3000)
    torch.testing.assert_close(loss, expected)
    for ours, plain in zip(
        torch.autograd.grad(loss, (first, second)),
        torch.autograd.grad(expected, (first, second)),
        strict=True,
    ):
        torch.testing.assert_close(ours, plain, atol=1e-7, rtol=1e-4)


def test_views_of_an_image_find_each_other_after_training():
    views = synthetic_views()
    means = []
    settings = replace(SHORT, epochs=60, learning_rate=1e-2)
    trained = pretrain_images(
        views, settings, seed=0, on_epoch=lambda epoch, loss: means.append(loss)
    )
    untrained = pretrain_images(views, replace(SHORT, epochs=0), seed=0)
    assert len(means) == 60
    assert means[-1] < means[0] - 0.5
    fresh = synthetic_views(views=5)[3:]  # other views, which it has not seen
    found, before = (
        (p.embed(fresh[0]) @ p.embed(fresh[1]).T).argmax(1) == torch.arange(200)
        for p in (trained, untrained)
    )
    assert float(found.float().mean()) > 0.8
    assert float(before.float().mean()) < 0.1


def test_embeddings_have_unit_length_and_are_those_of_standardised_features():
    views = synthetic_views()
    projection = pretrain_images(views, SHORT, seed=0)
    embedded = projection.embed(views[0])
    assert embedded.shape == (200, 16)
    assert not embedded.requires_grad
    torch.testing.assert_close(embedded.norm(dim=1), torch.ones(200))
    flat = views.reshape(-1, 32).double()
    standard = (views[0] - flat.mean(0)) / flat.std(0, correction=0)
    weight, bias = projection.linear.weight, projection.linear.bias
    expected = F.normalize(standard @ weight.double().T + bias, dim=1)
    torch.testing.assert_close(embedded, expected.float(), atol=1e-5, rtol=1e-4)


def test_the_same_seed_trains_the_same_and_no_random_state_is_touched():
    views = synthetic_views()
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    first, second, other = (pretrain_images(views, SHORT, seed=s) for s in (1, 1, 2))
    assert torch.equal(torch.rand(2), expected)
    assert torch.equal(first.linear.weight, second.linear.weight)
    assert not torch.equal(first.linear.weight, other.linear.weight)


def test_only_the_rows_asked_for_are_trained_on():
    views = synthetic_views()
    rows = torch.tensor([5, 3, 180, *range(20, 120)])
    chosen = pretrain_images(views, SHORT, seed=0, rows=rows)
    alone = pretrain_images(views[:, rows], SHORT, seed=0)
    assert torch.equal(chosen.linear.weight, alone.linear.weight)
    assert torch.equal(chosen.feature_mean, alone.feature_mean)
    views[:, 150] = torch.nan
    again = pretrain_images(views, SHORT, seed=0, rows=rows)
    assert torch.equal(chosen.linear.weight, again.linear.weight)


def test_all_views_meet_and_never_a_view_itself(monkeypatch):
    views = torch.arange(4.0).view(4, 1, 1).expand(4, 40, 3)
    met = set()

    def record(first, second, temperature):
        whole = [(x * 1.25**0.5 + 1.5).mean(1).round() for x in (first, second)]
        met.update(zip(*(x.int().tolist() for x in whole), strict=True))
        return (first.sum() + second.sum()) * 0

    monkeypatch.setattr("geocsp.train.simclr.nt_xent", record)
    monkeypatch.setattr(
        ImageProjection,
        "forward",
        lambda self, x: (
            (x - self.feature_mean) / self.feature_deviation
            + 0 * self.linear.bias.sum()
            + 0 * self.linear.weight.sum()
        ),
    )
    pretrain_images(views, replace(SHORT, batch_size=10), seed=0)
    assert met == {(a, b) for a in range(4) for b in range(4) if a != b}


def test_a_batch_larger_than_the_data_is_all_of_it():
    views = synthetic_views(count=20)
    whole = pretrain_images(views, replace(SHORT, batch_size=20), seed=0)
    larger = pretrain_images(views, replace(SHORT, batch_size=500), seed=0)
    assert torch.equal(whole.linear.weight, larger.linear.weight)


def test_a_feature_that_never_changes_does_no_harm():
    views = synthetic_views()
    views[:, :, 3] = 7.0
    assert bool(pretrain_images(views, SHORT, seed=0).embed(views[0]).isfinite().all())


def test_a_folder_holds_a_projection(tmp_path):
    views = synthetic_views()
    projection = pretrain_images(views, SHORT, seed=0)
    again = ImageProjection.from_pretrained(projection.save_pretrained(tmp_path))
    assert torch.equal(again.embed(views[1]), projection.embed(views[1]))


def test_bad_input_is_told():
    views = synthetic_views()
    with pytest.raises(DataError, match="at least 2 views of at least 2 images"):
        pretrain_images(views[:1], SHORT, seed=0)
    with pytest.raises(DataError, match="and 1 rows"):
        pretrain_images(views, SHORT, seed=0, rows=torch.tensor([3]))
    with pytest.raises(DataError, match=r"got \(200, 32\)"):
        pretrain_images(views[0], SHORT, seed=0)
    with pytest.raises(DataError, match=r"loss is nan in step 1; try a lower"):
        pretrain_images(views, replace(SHORT, learning_rate=1e38, warmup=0.0), seed=0)
    views[1, 17, 2] = torch.inf
    with pytest.raises(DataError, match="features of image 17 are not finite"):
        pretrain_images(views, SHORT, seed=0, rows=torch.arange(10, 100))


@pytest.mark.parametrize(
    "wrong",
    [
        {"batch_size": 1},
        {"epochs": -1},
        {"dim": 0},
        {"learning_rate": math.inf},
        {"weight_decay": -1.0},
        {"temperature": 0.0},
        {"warmup": 1.0},
    ],
)
def test_settings_out_of_range_are_told(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SimCLRSettings(**wrong)
