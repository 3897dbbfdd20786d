"""What every registered location encoder keeps."""

import pytest
import torch

import geocsp
from geocsp.coords import sample_sphere

PLACES = sample_sphere(20, torch.Generator().manual_seed(0))


def test_places_become_finite_embeddings(encoder):
    embedding = encoder(PLACES)
    assert embedding.shape == (20, encoder.dim) == (20, 16)
    assert embedding.dtype == torch.float32
    assert bool(embedding.isfinite().all())
    assert encoder(PLACES[:0]).shape == (0, 16)
    assert float(embedding.detach().std(dim=0).max()) > 0


def test_extreme_places_are_finite(encoder):
    corners = torch.tensor([[-180.0, -90.0], [180.0, 90.0], [0.0, 0.0], [-180.0, 90.0]])
    assert bool(encoder(corners).isfinite().all())


def test_the_finest_scale_is_finite_in_float32(encoder):
    steps = torch.linspace(-1e-4, 1e-4, 41)
    near_pole = torch.stack([steps * 1e6, 90 - steps.abs()], dim=1)
    near_border = torch.stack([180 - steps.abs(), steps], dim=1)
    assert bool(encoder(torch.cat([near_pole, near_border])).isfinite().all())
    assert encoder.resolution_km > 0


def test_every_weight_gets_a_gradient(encoder):
    encoder.train()
    encoder(sample_sphere(200, torch.Generator().manual_seed(1))).square().sum().backward()
    for name, weight in encoder.named_parameters():
        assert weight.grad is not None, name
        assert float(weight.grad.abs().max()) > 0, name


def test_a_row_does_not_depend_on_the_others(encoder):
    alone = torch.cat([encoder(place.unsqueeze(0)) for place in PLACES])
    torch.testing.assert_close(encoder(PLACES), alone, atol=1e-5, rtol=1e-5)
    order = torch.randperm(20, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(encoder(PLACES[order]), encoder(PLACES)[order])


def test_the_antimeridian_is_no_border_where_the_encoder_says_so(encoder):
    lat = torch.linspace(-80, 80, 9)
    west, east = (torch.stack([torch.full_like(lat, lon), lat], 1) for lon in (-180.0, 180.0))
    gap = float((encoder(west) - encoder(east)).detach().abs().max())
    assert (gap < 1e-4) == encoder.periodic


def test_a_pole_is_one_place_where_the_encoder_says_so(encoder):
    lon = torch.linspace(-180, 180, 9)
    for lat in (-90.0, 90.0):
        pole = encoder(torch.stack([lon, torch.full_like(lon, lat)], 1)).detach()
        spread = float((pole - pole[0]).abs().max())
        assert (spread < 1e-4) == encoder.single_pole


def test_the_input_is_left_alone_and_its_precision_hardly_matters(encoder):
    before = PLACES.clone()
    single = encoder(PLACES)
    assert torch.equal(PLACES, before)
    torch.testing.assert_close(encoder(PLACES.double()), single, atol=1e-4, rtol=1e-4)


def test_autocast_keeps_trigonometry_in_full_precision(encoder):
    seen = []
    encoder.network.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    encoder(PLACES)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        encoder(PLACES)
    assert torch.equal(seen[0], seen[1])


@pytest.mark.parametrize("bad", [[0.0, 91.0], [181.0, 0.0], [float("nan"), 0.0]])
def test_impossible_places_are_refused(encoder, bad):
    with pytest.raises(ValueError, match="row 1"):
        encoder(torch.tensor([[0.0, 0.0], bad]))


def test_saved_weights_and_recipe_rebuild_the_encoder(encoder):
    recipe = encoder.recipe
    torch.manual_seed(1)
    other = geocsp.create("location", recipe["name"], **recipe["settings"]).eval()
    assert not torch.equal(other(PLACES), encoder(PLACES))
    other.load_state_dict(encoder.state_dict())
    assert torch.equal(other(PLACES), encoder(PLACES))


def test_any_number_of_places_embeds_as_in_one_pass(encoder, monkeypatch):
    whole = encoder(PLACES).detach()
    monkeypatch.setattr(type(encoder), "rows_per_pass", 3)
    encoder.train()
    torch.testing.assert_close(encoder.embed(PLACES), whole, atol=1e-5, rtol=1e-5)
    assert encoder.training
    assert encoder.embed(PLACES[:0]).shape == (0, 16)


def test_a_folder_rebuilds_the_encoder_to_the_bit(encoder, tmp_path):
    loaded = geocsp.LocationEncoder.from_pretrained(encoder.save_pretrained(tmp_path))
    assert type(loaded) is type(encoder)
    assert torch.equal(loaded.embed(PLACES), encoder.embed(PLACES))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_a_gpu_agrees_with_the_cpu(encoder):
    expected = encoder(PLACES).detach()
    found = encoder.to("cuda")(PLACES.to("cuda")).detach()
    assert found.device.type == "cuda"
    torch.testing.assert_close(found.cpu(), expected, atol=1e-4, rtol=1e-4)


def test_an_encoder_comes_back_from_no_device(encoder):
    kinds = {name: tensor.dtype for name, tensor in encoder.state_dict().items()}
    empty = encoder.to("meta").to_empty(device="cpu")
    assert {name: tensor.dtype for name, tensor in empty.state_dict().items()} == kinds
    assert {tensor.device.type for tensor in empty.state_dict().values()} <= {"cpu"}
