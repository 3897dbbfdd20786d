import math

import pytest
import torch
from torch.nn import functional as F

import geocsp
from geocsp.coords import great_circle_km, sample_sphere
from geocsp.data.splitters.healpix import healpix_cells
from geocsp.errors import DataError
from geocsp.evaluate.geolocation import geolocate_gallery, geolocate_grid, grid_places
from geocsp.geolocate import Gallery, geolocate
from geocsp.geolocate import gallery as gallery_module
from geocsp.geolocate import store as store_module
from geocsp.maps.natural_earth import on_land
from geocsp.model import GeoModel


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("GEOCSP_CACHE", str(tmp_path / "cache"))


@pytest.fixture(params=["one file", "many files"])
def parts(request, monkeypatch):
    if request.param == "many files":
        monkeypatch.setattr(store_module, "_PART", 16)
        monkeypatch.setattr(store_module, "_NUMBERS", 16 * 8)
        monkeypatch.setattr(gallery_module, "_SCORES", 500)


@pytest.fixture
def model():
    torch.manual_seed(0)
    encoder = geocsp.create("location", "sphere2vec-spherec", dim=8)
    return GeoModel(encoder, 6, temperature=0.1).eval()


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def pictures(count=11):
    return torch.randn(count, 6, generator=seeded(0))


def places(count=300):
    return sample_sphere(count, seeded(1)).double()


def every_probability(model, images, lonlat):
    """Scores and probabilities of all places, float64, as plain as can be."""
    with torch.no_grad():
        similar = model.encode_image(images).double() @ model.encode_location(lonlat).double().T
    return similar, (similar * model.scale().double()).softmax(dim=1).detach()


def assert_same(found, expected):
    assert torch.equal(found.lonlat, expected.lonlat)
    assert torch.equal(found.scores, expected.scores)
    torch.testing.assert_close(found.probabilities, expected.probabilities, rtol=1e-6, atol=0)


@pytest.mark.usefixtures("parts")
@pytest.mark.parametrize("count", [1, 7, 300])
def test_answers_are_those_over_all_places(model, count):
    images, lonlat = pictures(), places()
    gallery = Gallery.of(model, lonlat)
    found = geolocate(model, images, gallery, count)
    assert_same(found, geolocate_gallery(model, images, lonlat, count))
    similar, every = every_probability(model, images, lonlat)
    scores, rows = similar.topk(count, dim=1)
    assert torch.equal(found.best, lonlat[rows[:, 0]])
    torch.testing.assert_close(found.scores.double(), scores, rtol=0, atol=1e-6)
    torch.testing.assert_close(found.probabilities, every.gather(1, rows), rtol=1e-5, atol=1e-9)


@pytest.mark.usefixtures("parts")
def test_a_grid_is_that_of_the_evaluation(model):
    images = pictures()
    gallery = Gallery.grid(model, 1500)
    assert torch.equal(gallery.lonlat, grid_places(1500))
    assert_same(geolocate(model, images, gallery, 5), geolocate_grid(model, images, 1500, 5))


def test_a_grid_on_land_is_a_part_of_the_grid(model):
    gallery, whole = Gallery.grid(model, 400, only_land=True), grid_places(400)
    expected = whole[torch.from_numpy(on_land(whole.numpy()))]
    assert torch.equal(gallery.lonlat, expected)
    assert 0.2 < len(gallery) / len(whole) < 0.4


@pytest.mark.usefixtures("parts")
def test_of_equals_the_first_come_first(model):
    lonlat = places(10)[torch.arange(60) % 10]  # each place six times
    found = Gallery.of(model, lonlat).search(model.embed_images(pictures()), 20)
    assert_same(found, geolocate_gallery(model, pictures(), lonlat, 20))
    apart = Gallery.of(model, lonlat).search(model.embed_images(pictures()), 3, apart_km=0.001)
    near = torch.isclose(lonlat[:, None, None], apart.lonlat[None]).all(-1)  # (60, N, 3)
    assert (near.sum(0) == 6).all()
    _, every = every_probability(model, pictures(), lonlat)
    expected = torch.einsum("mnk,nm->nk", near.double(), every)
    torch.testing.assert_close(apart.probabilities, expected, rtol=1e-5, atol=1e-9)


def slow_regions(similar, every, lonlat, count, apart_km):
    """Greedy suppression, place by place, with distances by the haversine formula."""
    left, found = set(range(len(lonlat))), []
    while left and len(found) < count:
        peak = max(left, key=lambda row: (similar[row].item(), -row))
        km = great_circle_km(lonlat[peak : peak + 1], lonlat)
        around = {row for row in left if km[row] < apart_km or row == peak}
        found.append((peak, math.fsum(every[row].item() for row in around)))
        left -= around
    return sorted(found, key=lambda one: -one[1])


@pytest.mark.usefixtures("parts")
@pytest.mark.parametrize("apart_km", [100.0, 2500.0, 9000.0, 20_100.0])
def test_answers_apart_are_those_of_a_slow_suppression(model, apart_km):
    images, lonlat, count = pictures(), places(), 8
    found = Gallery.of(model, lonlat).search(model.embed_images(images), count, apart_km=apart_km)
    similar, every = every_probability(model, images, lonlat)
    fewest = count
    for image in range(len(images)):
        expected = slow_regions(similar[image], every[image], lonlat, count, apart_km)
        rows, shares = zip(*expected, strict=True)
        k = len(rows)
        fewest = min(fewest, k)
        assert torch.equal(found.lonlat[image, :k], lonlat[list(rows)])
        assert found.lonlat[image, k:].isnan().all()
        assert found.scores[image, k:].isnan().all()
        assert (found.probabilities[image, k:] == 0).all()
        torch.testing.assert_close(
            found.probabilities[image, :k],
            torch.tensor(shares, dtype=torch.float64),
            rtol=1e-5,
            atol=1e-9,
        )
    assert (fewest < count) == (apart_km > 5000)  # both cases are seen


def test_answers_apart_know_poles_and_the_antimeridian(model):
    pairs = [(179.9, 10), (-179.9, 10), (0, 89.9), (180, 89.9), (90, -90), (-90, -90)]
    gallery = Gallery.of(model, torch.tensor(pairs, dtype=torch.float64))
    found = gallery.search(model.embed_images(pictures(3)), 6, apart_km=50)
    assert (found.probabilities > 0).sum(1).tolist() == [3, 3, 3]
    torch.testing.assert_close(found.probabilities.sum(1), torch.ones(3, dtype=torch.float64))


def test_regions_of_a_grid_hold_the_probability_of_the_cells_around(model):
    gallery = Gallery.grid(model, 300)
    queries = model.embed_images(pictures(2))
    found = gallery.search(queries, 4, apart_km=1200)
    for image in range(2):
        pairs = great_circle_km(
            found.lonlat[image].repeat_interleave(4, 0), found.lonlat[image].repeat(4, 1)
        ).view(4, 4)
        assert (pairs + 1e9 * torch.eye(4) >= 1200).all()
    assert len(set(healpix_cells(gallery.lonlat.numpy(), math.isqrt(len(gallery) // 12)))) == len(
        gallery
    )


def test_training_mode_and_a_scale_that_moved(model):
    gallery = Gallery.of(model.train(), places())
    assert model.training
    with torch.no_grad():
        model.log_scale += 1.0
    again = Gallery.of(model, places())
    assert again.store.folder == gallery.store.folder  # the temperature is no matter of places
    assert again.scale == pytest.approx(gallery.scale * math.e)
    found = geolocate(model, pictures(), again, 3)
    assert_same(found, geolocate_gallery(model.eval(), pictures(), places(), 3))


def test_bad_input_is_named(model):
    gallery = Gallery.of(model, places(20))
    good = F.normalize(torch.randn(3, 8, generator=seeded(2)), dim=1)
    with pytest.raises(DataError, match=r"\(N, 8\), got \(3, 7\)"):
        gallery.search(good[:, :7])
    with pytest.raises(DataError, match=r"1\.\.20, the number of places, got 21"):
        gallery.search(good, 21)
    with pytest.raises(DataError, match=r"got 0"):
        gallery.search(good, 0, apart_km=5)
    with pytest.raises(DataError, match="at least one image"):
        gallery.search(good[:0])
    with pytest.raises(DataError, match="row 1 are not finite"):
        gallery.search(torch.cat([good[:1], good[:1] * math.nan]))
    with pytest.raises(DataError, match="at least one place"):
        Gallery.of(model, places()[:0])
    with pytest.raises(ValueError, match="lonlat row 0"):
        Gallery.of(model, places() * 100)
    with pytest.raises(DataError, match="spacing_km"):
        Gallery.grid(model, 0)
