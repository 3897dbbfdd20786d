import importlib.util
import json
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
import torch

import geocsp
from geocsp.coords import unit_vectors
from geocsp.errors import DataError
from geocsp.evaluate.probes import RAW, ProbedEncoder, probed_encoder

PLACES = torch.tensor([[0.0, 0.0], [-180.0, 90.0], [179.5, -45.25], [13.4, 52.5]]).double()


def location(seed=0, name="wrap"):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return geocsp.create("location", name, dim=8).eval()


def models():
    encoder = location()
    return {
        "GeoModel": geocsp.GeoModel(encoder, feature_dim=5),
        "GeoPrior": geocsp.GeoPrior(encoder, ["a", "b"]),
        "LocationEncoder": encoder,
    }


@pytest.mark.parametrize("kind", models())
def test_a_saved_folder_of_any_model(kind, tmp_path):
    model = models()[kind]
    model.save_pretrained(tmp_path / "ours")
    found = probed_encoder(str(tmp_path / "ours"))
    assert (found.name, found.trained) == ("ours", True)
    torch.testing.assert_close(found.embed(PLACES), location().embed(PLACES))
    assert found.parameters == sum(p.numel() for p in location().parameters())


def test_fingerprints_tell_weights_apart_and_nothing_else(tmp_path):
    one, same, other = (
        ProbedEncoder.of(name, location(seed)) for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    assert one.fingerprint == same.fingerprint != other.fingerprint
    assert len(one.fingerprint) == 64
    prior = geocsp.GeoPrior(location(), 3)
    assert ProbedEncoder.of("d", prior).fingerprint == one.fingerprint


def test_fingerprints_count_buffers():
    one, other = (geocsp.create("location", "rbf", dim=4) for _ in range(2))
    other.load_state_dict(one.state_dict())
    assert ProbedEncoder.of("a", one).fingerprint == ProbedEncoder.of("b", other).fingerprint
    buffer = next(iter(other.state_dict()))
    changed = other.state_dict() | {buffer: other.state_dict()[buffer] + 1}
    other.load_state_dict(changed)
    assert ProbedEncoder.of("a", one).fingerprint != ProbedEncoder.of("b", other).fingerprint


def test_coordinates_as_they_are():
    assert torch.equal(probed_encoder("raw-lonlat").embed(PLACES), PLACES)
    assert torch.equal(probed_encoder("raw-xyz").embed(PLACES), unit_vectors(PLACES))
    assert torch.equal(probed_encoder("constant").embed(PLACES), torch.ones(4, 1).double())
    for name in RAW:
        found = probed_encoder(name)
        assert (found.trained, found.parameters, found.fingerprint) == (False, 0, "")


@pytest.mark.parametrize("name", [n for n in geocsp.available("location") if n != "geoclip"])
def test_every_registered_encoder_can_be_probed_untrained(name):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    found = probed_encoder(name, seed=1)
    assert torch.equal(before, torch.get_rng_state())
    assert (found.name, found.trained) == (f"{name} (untrained)", False)
    embedding = found.embed(PLACES)
    assert embedding.ndim == 2
    assert len(embedding) == 4
    assert bool(embedding.isfinite().all())
    assert probed_encoder(name, seed=1).fingerprint == found.fingerprint
    assert probed_encoder(name, seed=2).fingerprint != found.fingerprint


def test_geoclip_is_the_published_encoder():
    spec = importlib.util.find_spec("geoclip")
    if spec is None or spec.origin is None:
        pytest.skip(
            "geoclip is NOT INSTALLED, so the published baseline was NOT TESTED: "
            "pip install --no-deps geoclip==1.3.0"
        )
    found = probed_encoder("geoclip")
    file = Path(spec.origin).parent / "model" / "weights" / "location_encoder_weights.pth"
    same = probed_encoder(str(file))
    assert (found.name, same.name) == ("geoclip", "location_encoder_weights")
    assert found.trained
    assert "GeoCLIP" in found.attribution
    assert found.fingerprint == same.fingerprint
    assert torch.equal(found.embed(PLACES), geocsp.import_checkpoint(file).embed(PLACES))
    assert found.embed(PLACES).shape == (4, 512)


def test_geoclip_that_is_not_installed_says_how(monkeypatch):
    def absent(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr("geocsp.data.packaged.distribution", absent)
    with pytest.raises(DataError, match="pip install --no-deps geoclip"):
        probed_encoder("geoclip")


def test_what_is_no_encoder_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"nowhere is no saved folder.*encoders: geoclip.*wrap"):
        probed_encoder("nowhere")
    with pytest.raises(DataError, match="holds no model"):
        probed_encoder(str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps({"model": "Tree"}))
    with pytest.raises(DataError, match=r"config\.json is damaged: KeyError"):
        probed_encoder(str(tmp_path))
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(DataError, match=r"config\.json is damaged"):
        probed_encoder(str(tmp_path))
    (tmp_path / "file.pth").write_bytes(b"no checkpoint")
    with pytest.raises(DataError, match=r"file\.pth"):
        probed_encoder(str(tmp_path / "file.pth"))
