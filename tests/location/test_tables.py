"""Encoders that hold a table: cells, anchors, random directions, a raster of environment."""

import math

import pytest
import torch

from geocsp.coords import great_circle_km, sample_sphere
from geocsp.location import (
    RBF,
    RFF,
    SINR,
    HealpixHash,
    NeRF,
    Space2VecGrid,
    SphereC,
    SphericalHarmonics,
    Tile,
    Wrap,
)

PLACES = sample_sphere(15, torch.Generator().manual_seed(0)).double()


def places(*rows):
    return torch.tensor(rows, dtype=torch.float64)


def test_tile_gives_all_places_of_a_cell_its_vector():
    encoder = Tile(dim=4, degrees=30.0, cell_dim=3)
    assert encoder.cells.shape == (6 * 12, 3)
    inside = encoder.features(places([0.0, 30.0], [29.9, 59.9], [15.0, 45.0]))
    assert torch.equal(inside, encoder.cells[4 * 12 + 6].expand(3, -1))
    outside = encoder.features(places([30.0, 30.0], [29.9, 60.0], [-0.1, 45.0]))
    assert torch.equal(outside, encoder.cells[[4 * 12 + 7, 5 * 12 + 6, 4 * 12 + 5]])


def test_tile_borders_of_the_map_belong_to_the_outer_cells():
    encoder = Tile(dim=4, degrees=50.0, cell_dim=3)  # the last column and row are narrower
    assert encoder.cells.shape == (4 * 8, 3)
    edges = places([-180, -90], [180, -90], [179.9, -90], [-180, 90], [0, 90])
    assert torch.equal(encoder.features(edges), encoder.cells[[0, 0, 7, 24, 27]])


def test_tile_learns_nothing_about_cells_without_data():
    encoder = Tile(dim=4, degrees=45.0, cell_dim=3)
    encoder.features(places([10, 10], [20, 20])).sum().backward()
    assert encoder.cells.grad.any(dim=1).nonzero().tolist() == [[2 * 8 + 4]]


def test_tile_vectors_start_small():
    cells = Tile(dim=4, cell_dim=10).cells.detach()
    assert float(cells.std()) == pytest.approx(0.1, rel=0.05)


@pytest.mark.parametrize("degrees", [0.0, -5.0, math.nan, math.inf])
def test_tile_cells_need_a_size(degrees):
    with pytest.raises(ValueError, match="cells must be 0 to 360 degrees wide"):
        Tile(degrees=degrees)


def test_rbf_features_fall_off_with_the_great_circle_distance():
    encoder = RBF(dim=4, anchors=15, width=20.0)
    encoder.set_anchors(PLACES.float())
    radius = great_circle_km(places([0, 0]), places([0, 90])) / 90 * 20.0
    features = encoder.features(PLACES)
    for column, anchor in enumerate(PLACES.float().double()):
        ratio = great_circle_km(PLACES, anchor.unsqueeze(0)) / radius
        expected = (-ratio.square() / 2).exp().float()
        torch.testing.assert_close(features[:, column], expected, atol=1e-6, rtol=0)
    assert features.diagonal().tolist() == pytest.approx([1.0] * 15)


def test_rbf_distance_crosses_the_antimeridian_but_the_legacy_one_does_not():
    for legacy in (False, True):
        encoder = RBF(dim=4, anchors=1, legacy_distance=legacy)
        encoder.set_anchors(places([179.0, 0.0]))
        east, west = encoder.features(places([177.0, 0.0], [-179.0, 0.0])).flatten().tolist()
        assert east == pytest.approx(math.exp(-0.02))
        assert west == pytest.approx(0.0 if legacy else math.exp(-0.02))


def test_rbf_anchors_start_spread_evenly_over_the_sphere():
    anchors = RBF(dim=4, anchors=500).anchors
    nearest = torch.stack(
        [
            great_circle_km(anchors, place.unsqueeze(0)).topk(2, largest=False)[0][1]
            for place in anchors
        ]
    )
    assert float(nearest.max() / nearest.min()) < 1.6
    assert (anchors[:, 1].abs() > 30).double().mean().item() == pytest.approx(0.5, abs=0.01)


def test_rbf_anchors_travel_with_the_weights():
    encoder, other = RBF(dim=4, anchors=15).eval(), RBF(dim=4, anchors=15).eval()
    encoder.set_anchors(PLACES)
    other.load_state_dict(encoder.state_dict())
    assert torch.equal(other(PLACES), encoder(PLACES))


def test_rbf_refuses_other_numbers_of_anchors_and_impossible_ones():
    encoder = RBF(dim=4, anchors=15)
    with pytest.raises(ValueError, match="need 15 anchors, got 14"):
        encoder.set_anchors(PLACES[:14])
    with pytest.raises(ValueError, match=r"anchors row 1 .* latitude"):
        encoder.set_anchors(places([0, 0], [0, 91]))


def test_rff_products_approximate_a_gaussian_kernel():
    torch.manual_seed(0)
    features = RFF(dim=4, waves=20_000, variance=9.0).features(PLACES).double()
    scaled = PLACES / places([180, 90])
    kernel = (-9.0 / 2 * torch.cdist(scaled, scaled).square()).exp()
    torch.testing.assert_close(features @ features.T, kernel, atol=0.04, rtol=0)


def test_rff_draws_its_waves_from_the_seed_and_keeps_them_with_the_weights():
    torch.manual_seed(0)
    encoder = RFF(dim=4, waves=5000, variance=49.0)
    assert float(encoder.directions.std()) == pytest.approx(7.0, rel=0.03)
    assert 0 <= float(encoder.phases.min()) < 0.01
    assert 2 * math.pi - 0.01 < float(encoder.phases.max()) <= 2 * math.pi
    assert {"directions", "phases"} <= set(encoder.state_dict())
    assert not {"directions", "phases"} & {name for name, _ in encoder.named_parameters()}
    torch.manual_seed(0)
    assert torch.equal(RFF(dim=4, waves=5000, variance=49.0).directions, encoder.directions)


def bilinear(raster, lon, lat):
    """Scalar bilinear interpolation of ``(rows, columns)``, whose outermost values are borders."""
    rows, columns = raster.shape
    y, x = (90 - lat) / 180 * (rows - 1), (lon + 180) / 360 * (columns - 1)
    top, left = min(int(y), rows - 2), min(int(x), columns - 2)
    dy, dx = y - top, x - left
    (a, b), (c, d) = raster[top : top + 2, left : left + 2].tolist()
    return (1 - dy) * ((1 - dx) * a + dx * b) + dy * ((1 - dx) * c + dx * d)


@pytest.mark.parametrize("coordinates", [True, False])
def test_sinr_reads_the_environment_by_bilinear_interpolation(coordinates):
    torch.manual_seed(0)
    encoder = SINR(dim=4, environment=(5, 9, 2), coordinates=coordinates)
    raster = torch.randn(5, 9, 2)
    encoder.set_environment(raster)
    edges = places([-180, 90], [180, -90], [180, 90], [0, 0])
    where = torch.cat([PLACES, edges])
    features = encoder.features(where)
    assert features.shape == (19, 6 if coordinates else 2)
    for row, (lon, lat) in zip(features.tolist(), where.tolist(), strict=True):
        expected = [bilinear(raster[..., band], lon, lat) for band in range(2)]
        assert row[-2:] == pytest.approx(expected, abs=2e-6)


def test_sinr_puts_the_environment_after_the_coordinates():
    with_raster, alone = SINR(dim=4, environment=(5, 9, 2)), SINR(dim=4)
    assert torch.equal(with_raster.features(PLACES)[:, :4], alone.features(PLACES))
    assert not bool(with_raster.features(PLACES)[:, 4:].any())


def test_sinr_takes_the_sea_for_the_mean_and_saves_its_raster():
    encoder = SINR(dim=4, environment=(2, 3, 1)).eval()
    encoder.set_environment(torch.full((2, 3, 1), math.nan))
    assert not bool(encoder.raster.any())
    encoder.set_environment(torch.randn(2, 3, 1))
    other = SINR(dim=4, environment=(2, 3, 1)).eval()
    other.load_state_dict(encoder.state_dict())
    assert torch.equal(other(PLACES), encoder(PLACES))


def test_sinr_refuses_a_raster_of_another_shape_and_no_input_at_all():
    with pytest.raises(
        ValueError, match=r"environment must have shape \(2, 3, 1\), got \(1, 2, 3\)"
    ):
        SINR(dim=4, environment=(2, 3, 1)).set_environment(torch.zeros(1, 2, 3))
    with pytest.raises(ValueError, match="needs coordinates, environment or both"):
        SINR(coordinates=False)


def test_places_at_an_anchor_have_a_finite_gradient():
    for legacy in (False, True):
        encoder = RBF(dim=4, anchors=2, legacy_distance=legacy)
        anchors = torch.tensor([[10.0, 20.0], [-30.0, 40.0]], dtype=torch.float64)
        encoder.set_anchors(anchors)
        places = anchors.clone().requires_grad_()
        encoder.features(places).sum().backward()
        assert bool(places.grad.isfinite().all())


def test_tiles_that_do_not_divide_the_globe_still_cover_it():
    tile = Tile(dim=4, degrees=7.0)
    assert (tile.rows, tile.columns) == (26, 52)
    assert tile(torch.tensor([[179.9, 89.9], [-180.0, -90.0]])).shape == (2, 4)


@pytest.mark.parametrize(
    ("encoder", "km"),
    [
        (lambda: RBF(width=9.0), 9 * 111.195),
        (lambda: Tile(degrees=2.0), 2 * 111.195),
        (lambda: RFF(variance=4.0), math.pi * 180 * 111.195),
        (lambda: SINR(environment=(3, 5, 1)), 90 * 111.195),
        (lambda: NeRF(frequencies=4), 6371.0 / 4),
        (lambda: SphericalHarmonics(degrees=10), 40 * 111.195),
        (lambda: HealpixHash(levels=3), 6371.0 * math.sqrt(4 * math.pi / 192)),
        (lambda: Space2VecGrid(min_radius=0.5), math.pi * 111.195),
        (lambda: SphereC(min_radius=0.01), 0.02 * math.pi * 6371.0),
        (lambda: Wrap(), 40_030),
    ],
)
def test_the_finest_scale_is_told_in_kilometres(encoder, km):
    assert encoder().resolution_km == pytest.approx(km, rel=1e-4)
