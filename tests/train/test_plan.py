import pytest
import torch

from geocsp.data.samplers import Balanced, Uniform
from geocsp.errors import DataError
from geocsp.process import ALONE, Process
from geocsp.train.plan import Plan
from geocsp.train.randomness import Stream, generator

PLACES = torch.zeros(10, 2)


def plan(batch=3, epochs=2, rows=10, process=ALONE, seed=0, sampler=None):
    sampler = Uniform().fit(torch.zeros(rows, 2)) if sampler is None else sampler
    return Plan.of(sampler, rows, batch, epochs, process, seed)


def test_an_epoch_shows_whole_batches_of_its_own_order():
    made = plan()
    assert (made.steps_per_epoch, made.steps) == (3, 6)
    batches = list(made.batches(0))
    assert [len(rows) for rows in batches] == [3] * 6
    for epoch in range(2):
        order = torch.randperm(10, generator=generator(0, Stream.ORDER, epoch))
        assert torch.equal(torch.cat(batches[3 * epoch : 3 * epoch + 3]), order[:9])
    assert not torch.equal(made.order(0), made.order(1))


@pytest.mark.parametrize("start", range(7))
def test_a_run_can_go_on_from_any_step(start):
    whole, rest = list(plan().batches(0)), list(plan().batches(start))
    assert [rows.tolist() for rows in rest] == [rows.tolist() for rows in whole[start:]]


def test_another_seed_gives_another_order():
    assert not torch.equal(plan(seed=1).order(0), plan(seed=0).order(0))


def test_no_epochs_are_no_steps():
    assert plan(epochs=0).steps == 0
    assert list(plan(epochs=0).batches(0)) == []


@pytest.mark.parametrize(("batch", "world", "fitting"), [(4, 2, 4), (64, 1, 10), (64, 4, 8)])
def test_a_batch_fits_the_rows_and_the_processes(batch, world, fitting):
    assert plan(batch, process=Process(0, world)).batch == fitting


def test_processes_share_a_batch_without_loss_or_repeat():
    made = plan(batch=6, process=Process(0, 3))
    for rows in made.batches(0):
        shares = [rows[Process(rank, 3).own(len(rows))] for rank in range(3)]
        assert torch.equal(torch.cat(shares), rows)


def test_a_batch_that_cannot_be_split_is_an_error():
    with pytest.raises(DataError, match=r"batch of 3 images .* 2 processes; .* multiple of 2"):
        plan(process=Process(0, 2))
    with pytest.raises(DataError, match="batch of 0 images cannot be split among 16"):
        plan(batch=64, process=Process(0, 16))


def test_a_sampler_of_other_rows_is_an_error():
    with pytest.raises(DataError, match=r"fitted to the 11 images .* is fitted to 10 and shows 10"):
        Plan.of(Uniform().fit(PLACES), 11, 3, 1, ALONE, 0)


def test_a_sampler_decides_how_long_an_epoch_is():
    sampler = Balanced(per_class=3).fit(PLACES, torch.arange(10) % 2)
    made = plan(batch=2, sampler=sampler)
    assert made.steps_per_epoch == 3
    assert len(torch.cat(list(made.batches(0))[:3]).unique()) == 6
