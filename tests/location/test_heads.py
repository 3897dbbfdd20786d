"""Every network after every position encoding, and time as a second input."""

import math

import pytest
import torch

import geocsp
from geocsp.coords import sample_sphere
from geocsp.location import Head

PLACES = sample_sphere(6, torch.Generator().manual_seed(0))
TIMES = torch.tensor([[0.1, 3.0], [0.5, 23.5], [0.9, 12.0], [0.3, math.nan]])
TIMES = torch.cat([TIMES, torch.tensor([[math.nan, 6.0], [math.nan, math.nan]])])
FREE = sorted({*geocsp.available("location")} - {"geoclip", "space2vec-theorydiag"})
SETTINGS = {
    Head.FEED_FORWARD: {"hidden": 8, "layers": 2},
    Head.RESIDUAL: {"hidden": 8, "blocks": 1},
    Head.SIREN: {"hidden": 8, "layers": 2},
    Head.RESIDUAL_SIREN: {"hidden": 8, "blocks": 1},
    Head.BLOCK_DIAGONAL: {"blocks": 1, "mix": True},
    Head.CAPSULES: {"blocks": 1, "hidden": 8},
}


def timed(name="wrap-ffn", **settings):
    torch.manual_seed(0)
    settings = {"date_harmonics": 1, "hour_harmonics": 2} | settings
    return geocsp.create("location", name, dim=16, **settings).eval()


@pytest.mark.parametrize("head", Head)
@pytest.mark.parametrize("name", FREE)
def test_every_network_follows_every_encoding(name, head):
    encoder = geocsp.create("location", name, dim=16, head=head.value, **SETTINGS[head]).eval()
    assert type(encoder.network) is head.network
    embedding = encoder(PLACES)
    assert embedding.shape == (6, 16)
    assert bool(embedding.isfinite().all())


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("wrap", {"first_frequency": 3.0}, "Wrap with head 'residual'.*'first_frequency'"),
        ("wrap-ffn", {"blocks": 2}, "WrapFFN with head 'feed-forward'.*'blocks'"),
        ("wrap-ffn", {"frequences": 2}, "WrapFFN with head 'feed-forward'.*'frequences'"),
        ("xyz", {"head": "siren", "mix": True}, "Cartesian with head 'siren'.*'mix'"),
    ],
)
def test_a_setting_that_the_network_does_not_take_is_refused_by_name(name, settings, words):
    with pytest.raises(ValueError, match=words):
        geocsp.create("location", name, dim=16, **settings)


def test_the_network_gets_time_after_the_position():
    encoder = timed()
    seen = []
    encoder.network.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    encoder(PLACES, TIMES)
    assert seen[0].shape == (6, 4 + 6)
    torch.testing.assert_close(seen[0][:, :4], encoder.features(PLACES.double()).float())
    torch.testing.assert_close(seen[0][:, 4:], encoder.time(TIMES))


def test_embeddings_change_with_each_part_of_the_time():
    encoder = timed()
    here = encoder(PLACES[:1], torch.tensor([[0.2, 5.0]]))
    for other in ([0.3, 5.0], [0.2, 6.0], [math.nan, 5.0], [0.2, math.nan]):
        assert not torch.allclose(encoder(PLACES[:1], torch.tensor([other])), here)


def test_time_without_an_hour_is_a_circle_of_dates():
    encoder = timed(hour_harmonics=0)
    morning, evening = torch.tensor([[0.2, 5.0]]), torch.tensor([[0.2, 20.0]])
    assert torch.equal(encoder(PLACES[:1], morning), encoder(PLACES[:1], evening))


def test_the_year_and_the_day_close():
    encoder = timed()
    start, end = torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0, 24.0]])
    torch.testing.assert_close(encoder(PLACES[:1], start), encoder(PLACES[:1], end))


def test_the_legacy_date_jumps_at_the_new_year():
    encoder = timed(date_harmonics=0, hour_harmonics=0, legacy_linear_date=True)
    start, end = torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0, 0.0]])
    assert not torch.allclose(encoder(PLACES[:1], start), encoder(PLACES[:1], end))


def test_no_time_is_unknown_time():
    encoder = timed()
    unknown = torch.full((6, 2), math.nan)
    assert torch.equal(encoder(PLACES), encoder(PLACES, unknown))
    assert torch.equal(encoder.embed(PLACES), encoder.embed(PLACES, unknown))
    assert not torch.allclose(encoder(PLACES)[:5], encoder(PLACES, TIMES)[:5])


def test_embedding_in_passes_keeps_places_and_times_together():
    encoder = timed(frequencies=400, name="space2vec-grid", hidden=4)
    count = 2 * encoder.rows_per_pass + 3
    places = sample_sphere(count, torch.Generator().manual_seed(1))
    times = torch.rand(count, 2, generator=torch.Generator().manual_seed(2)) * 0.9
    with torch.no_grad():
        torch.testing.assert_close(encoder.embed(places, times), encoder(places, times))


@pytest.mark.parametrize("name", FREE)
def test_every_weight_gets_a_gradient_with_time(name):
    encoder = timed(name).train()
    places = sample_sphere(200, torch.Generator().manual_seed(1))
    times = torch.rand(200, 2, generator=torch.Generator().manual_seed(2))
    encoder(places, times * torch.tensor([1.0, 24.0])).square().sum().backward()
    for label, weight in encoder.named_parameters():
        assert weight.grad is not None, label
        assert float(weight.grad.abs().max()) > 0, label
        if label.endswith(("hidden.0.linear.weight", "input.weight")):
            assert bool((weight.grad[:, -6:] != 0).any(dim=0).all()), label


@pytest.mark.parametrize("part", [0, 1])
def test_impossible_times_are_refused_with_their_row(part):
    for value in (-0.1, 24.5, math.inf):
        times = TIMES.clone()
        times[3, part] = value
        with pytest.raises(ValueError, match="time row 3 is"):
            timed()(PLACES, times)


def test_times_of_another_shape_or_type_are_refused():
    for times in (TIMES[:5], TIMES[:, :1], TIMES.long(), TIMES[:, 0]):
        with pytest.raises(ValueError, match=r"time must be a floating point tensor \(6, 2\)"):
            timed().embed(PLACES, times)


def test_an_encoder_without_time_refuses_it(encoder):
    with pytest.raises(ValueError, match="takes no time; create it with date_harmonics"):
        encoder(PLACES, TIMES)


@pytest.mark.parametrize("name", ["geoclip", "space2vec-theorydiag"])
@pytest.mark.parametrize("setting", ["head", "blocks", "legacy_linear_date", "skip"])
def test_encoders_with_a_network_of_their_own_take_no_other_settings(name, setting):
    with pytest.raises(ValueError, match=f"{name}.*{setting}"):
        geocsp.create("location", name, **{setting: 3})


@pytest.mark.parametrize("setting", ["head", "activation"])
def test_unknown_names_are_told_with_those_there_are(setting):
    with pytest.raises(ValueError, match=f"no {setting} 'soft'; available: .*r"):
        geocsp.create("location", "wrap-ffn", **{setting: "soft"})


@pytest.mark.parametrize(
    ("name", "setting"), [("xyz", "dim"), ("nerf", "frequencies"), ("rff", "waves")]
)
def test_nothing_of_no_size_is_built(name, setting):
    with pytest.raises(ValueError, match="of at least 1"):
        geocsp.create("location", name, **{setting: 0})


@pytest.mark.parametrize(
    "settings",
    [
        {"hidden": 0},
        {"layers": -2},
        {"head": "residual", "blocks": -1},
        {"head": "residual", "hidden": 0},
        {"head": "siren", "hidden": 0},
        {"head": "siren", "first_frequency": float("nan")},
        {"head": "residual-siren", "hidden": -1},
    ],
)
def test_networks_of_no_size_are_refused(settings):
    with pytest.raises(ValueError, match=r"need a width|must be positive"):
        geocsp.create("location", "wrap-ffn", dim=4, **settings)


@pytest.mark.parametrize("name", geocsp.available("location"))
def test_every_encoder_takes_time(name):
    torch.manual_seed(0)
    encoder = geocsp.create("location", name, dim=16, date_harmonics=2, hour_harmonics=1).eval()
    noon = torch.tensor([[0.25, 12.0]]).expand(6, 2)
    later = torch.tensor([[0.75, 12.0]]).expand(6, 2)
    first, second = encoder(PLACES, noon), encoder(PLACES, later)
    assert float((first - second).detach().abs().min(dim=0).values.max()) > 0
    assert float((first - second).detach().abs().max()) > 1e-3
    turned = encoder(PLACES, noon + torch.tensor([0.75, 12.0]))  # the end of the year and day
    begun = encoder(PLACES, torch.zeros(6, 2))
    torch.testing.assert_close(turned, begun, atol=1e-4, rtol=1e-4)
    first.square().sum().backward()
    for weight in encoder.parameters():
        assert weight.grad is not None
