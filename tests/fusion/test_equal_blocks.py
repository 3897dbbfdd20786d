import pytest
import torch

from geocsp.coords import great_circle_km, sample_sphere
from geocsp.fusion.blocks import equal_blocks


@pytest.mark.parametrize("rows", [16, 100, 401])
def test_blocks_hold_equally_many_rows(rows):
    block = equal_blocks(sample_sphere(rows, torch.Generator().manual_seed(0)), 3)
    counts = torch.bincount(block)
    assert len(counts) == 8
    assert counts.max() - counts.min() <= 1


def test_rows_of_a_block_are_neighbours_over_the_antimeridian_too():
    centres = torch.tensor([[180.0, 0.0], [0.0, 85.0], [10.0, -40.0], [100.0, 20.0]])
    near = torch.randn(200, 2, generator=torch.Generator().manual_seed(1)) * 2
    member = torch.arange(200) % 4
    lonlat = centres[member] + near.clamp(-5, 5)
    lonlat[:, 0] = (lonlat[:, 0] + 180) % 360 - 180
    block = equal_blocks(lonlat, 2)
    for number in range(4):
        assert len(set(block[member == number].tolist())) == 1
    assert len(set(block.tolist())) == 4


def test_places_in_one_spot_are_divided_all_the_same():
    lonlat = torch.tensor([[8.5, 47.4]] * 32)
    assert torch.bincount(equal_blocks(lonlat, 2)).tolist() == [8] * 4
    assert float(great_circle_km(lonlat[:1], lonlat[1:2])) == 0


def test_remainders_of_the_number_divide_every_region():
    lonlat = torch.stack([torch.linspace(-60, 60, 64), torch.zeros(64)], dim=1)
    block = equal_blocks(lonlat, 3)
    assert torch.unique_consecutive(block).unique().tolist() == [*range(8)]
    assert len(torch.unique_consecutive(block)) == 8
    for half in (block[:32], block[32:]):
        assert sorted(set((half % 4).tolist())) == [0, 1, 2, 3]
