"""Artefacts of constructed maps: striped, isotropic, torn and whole."""

import math

import numpy as np
import pytest
import torch

from geocsp.coords import great_circle_km, sample_sphere, unit_vectors
from geocsp.errors import DataError
from geocsp.evaluate.probes import artefacts, probed_encoder, synthetic
from geocsp.evaluate.probes.stripes import STEPS, _corner, alignment

RATES = (3.0, 7.0, 12.0, 30.0)


def waves(angles):
    turns = torch.stack([angle.deg2rad() * rate for angle in angles for rate in RATES], dim=1)
    return torch.cat([turns.sin(), turns.cos()], dim=1)


def graticule(lonlat):
    return waves(lonlat.unbind(1))


def meridians(lonlat):
    return waves(lonlat[:, :1].unbind(1))


def parallels(lonlat):
    return waves(lonlat[:, 1:].unbind(1))


def isotropic(lonlat, scale=15.0):
    generator = torch.Generator().manual_seed(0)
    directions = torch.randn(3, 400, generator=generator, dtype=torch.float64) * scale
    turns = unit_vectors(lonlat) @ directions
    return torch.cat([turns.sin(), turns.cos()], dim=1)


def turned(lonlat):
    matrix = np.random.default_rng(0).standard_normal((16, 16))
    return 3 * graticule(lonlat) @ torch.from_numpy(np.linalg.qr(matrix)[0]) + 5


def flat(lonlat):
    return torch.ones(len(lonlat), 3)


def test_corners_lie_so_far_away_in_that_direction():
    centres = sample_sphere(200, torch.Generator().manual_seed(0)).double()
    centres = centres[centres[:, 1].abs() < 60]
    km = torch.full((len(centres),), 7.0).deg2rad().double() * 6371.0088
    for bearing in range(0, 360, 45):
        corner = _corner(centres, 7.0, bearing)
        torch.testing.assert_close(great_circle_km(centres, corner), km)
        assert corner[:, 0].abs().max() <= 180
    north, east = (_corner(centres, 7.0, bearing) for bearing in (0, 90))
    torch.testing.assert_close(north, centres + torch.tensor([0.0, 7.0]))
    assert bool((((east - centres)[:, 0] + 180) % 360 > 180).all())
    on_equator = torch.tensor([[10.0, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(_corner(on_equator, 7.0, 270), on_equator - torch.tensor([7.0, 0.0]))


def test_lines_along_the_graticule_are_found():
    crossing, south_north, west_east = (artefacts(m) for m in (graticule, meridians, parallels))
    for found in (crossing, south_north, west_east):
        assert found.alignment[0].along_axes > 0.98
        assert found.alignment[1].along_axes > 0.9
    assert abs(crossing.alignment[0].along_meridians) < 0.3
    assert south_north.alignment[0].along_meridians > 0.98
    assert west_east.alignment[0].along_meridians < -0.98


def test_an_isotropic_field_has_none_at_any_scale():
    for scale in (2.0, 15.0, 60.0):
        for size in artefacts(lambda x, s=scale: isotropic(x, s)).alignment:
            assert abs(size.along_axes) < 0.05
            assert abs(size.along_meridians) < 0.1


def test_random_fields_of_harmonics_have_few():
    def fields(lonlat):
        places = lonlat.double().numpy()
        columns = [synthetic.random_field(places, degrees=13, seed=s) for s in range(6)]
        return torch.from_numpy(np.stack(columns, axis=1))

    for size in artefacts(fields).alignment:
        assert abs(size.along_axes) < 0.1
        assert abs(size.along_meridians) < 0.1


def test_lines_halfway_between_count_negative():
    def diagonal(lonlat):  # lon is a distance near the equator
        lon, lat = lonlat.unbind(1)
        return waves([lon + lat, lon - lat])

    near = torch.stack([torch.linspace(-170, 170, 500), torch.linspace(-8, 8, 500)], dim=1)
    assert alignment(diagonal, near.double(), 1.0, 1.0).along_axes < -0.95


def test_turning_scaling_and_shifting_do_not_matter():
    one, other = artefacts(graticule), artefacts(turned)
    for a, b in zip(one.alignment, other.alignment, strict=True):
        assert a.along_axes == pytest.approx(b.along_axes)
        assert a.along_meridians == pytest.approx(b.along_meridians)
        assert a.share == pytest.approx(b.share)
    assert (one.seam, one.poles) == pytest.approx((other.seam, other.poles))


def test_more_stripes_count_more():
    shares = [0.0, 0.3, 3.0]
    found = [
        artefacts(lambda x, s=s: torch.cat([isotropic(x) / 20, s * graticule(x)], dim=1))
        for s in shares
    ]
    along = [f.alignment[1].along_axes for f in found]
    assert along == sorted(along)
    assert along[-1] > along[0] + 0.5


def test_the_share_is_one_where_places_have_nothing_in_common():
    sizes = artefacts(lambda x: isotropic(x, 1000.0)).alignment
    assert [size.degrees for size in sizes] == list(STEPS)
    assert [size.share for size in sizes] == pytest.approx([1, 1, 1], abs=0.05)
    smooth = artefacts(unit_vectors).alignment
    # the step over d degrees of a great circle is 2 sin d, and the variance is 1
    expected = [math.sin(math.radians(size.degrees)) ** 2 * 2 for size in smooth]
    assert [size.share for size in smooth] == pytest.approx(expected, rel=0.02)


def test_the_seam_is_the_step_over_the_antimeridian():
    assert artefacts(unit_vectors).seam == pytest.approx(1)
    assert artefacts(lambda x: x).seam == pytest.approx(719)  # 359.5 degrees against 0.5
    half = artefacts(lambda x: torch.sin(x[:, :1].deg2rad() / 2)).seam
    assert half > 100


def test_a_step_over_the_antimeridian_alone_is_infinite():
    found = artefacts(lambda x: (x[:, :1] > 179.6).double())
    assert found.seam == math.inf


def test_poles_are_the_spread_over_the_variance():
    assert artefacts(unit_vectors).poles == pytest.approx(0, abs=1e-20)
    lonlat = artefacts(lambda x: x).poles
    variance = 360**2 / 12, (math.pi**2 / 4 - 2) * math.degrees(1) ** 2
    assert lonlat == pytest.approx(variance[0] / sum(variance), rel=0.02)
    assert artefacts(meridians).poles == pytest.approx(1, rel=0.02)


def test_a_flat_map_has_no_artefacts():
    found = artefacts(flat)
    assert (found.seam, found.poles) == (1, 0)
    for size in found.alignment:
        assert (size.along_axes, size.along_meridians, size.share) == (0, 0, 0)


def test_grid_encoders_have_stripes_and_harmonics_have_none():
    grid, harmonics = (
        artefacts(probed_encoder(name).embed) for name in ("space2vec-grid", "spherical-harmonics")
    )
    assert grid.alignment[0].along_axes > 0.8
    assert grid.seam > 1.2
    assert grid.poles > 0.3
    assert abs(harmonics.alignment[0].along_axes) < 0.05
    assert harmonics.seam == pytest.approx(1, abs=0.1)
    assert harmonics.poles < 1e-6


def test_the_same_seed_gives_the_same_numbers():
    assert artefacts(graticule, seed=3) == artefacts(graticule, seed=3)
    assert artefacts(graticule, seed=3) != artefacts(graticule, seed=4)


def test_an_embedding_that_is_not_finite_is_refused():
    with pytest.raises(DataError, match=r"the embedding of lon .* is not finite"):
        artefacts(lambda x: torch.where(x > 80, torch.nan, x))
