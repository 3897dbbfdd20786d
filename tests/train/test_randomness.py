import itertools

import pytest
import torch

from geocsp.train.randomness import Stream, derived_seed, generator


def test_every_place_of_every_stream_has_its_own_seed():
    places = [*itertools.product(range(50), range(8)), (10**6, 0), (0, 10**6)]
    seeds = {
        derived_seed(seed, stream, *place)
        for seed in (0, 1, -1, 2**63, 12345)
        for stream in Stream
        for place in places
    }
    assert len(seeds) == 5 * len(Stream) * len(places)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_the_same_place_has_the_same_seed():
    assert derived_seed(7, Stream.IMAGE, 3, 1) == derived_seed(7, Stream.IMAGE, 3, 1)
    assert derived_seed(-1, Stream.IMAGE) == derived_seed(2**64 - 1, Stream.IMAGE)


def test_generators_of_different_places_are_not_alike():
    draws = torch.stack(
        [torch.rand(2000, generator=generator(0, Stream.LOCATION, step)) for step in range(5)]
    )
    correlation = torch.corrcoef(draws) - torch.eye(5)
    assert float(correlation.abs().max()) < 0.1
    assert torch.equal(draws[3], torch.rand(2000, generator=generator(0, Stream.LOCATION, 3)))


def test_the_global_state_is_not_used():
    before = torch.get_rng_state()
    torch.rand(3, generator=generator(0, Stream.ORDER, 0))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("stream", list(Stream))
def test_streams_have_the_numbers_that_checkpoints_rely_on(stream):
    known = {Stream.ORDER: 0, Stream.PLACES: 1, Stream.IMAGE: 2, Stream.LOCATION: 3}
    assert stream == known[stream]
