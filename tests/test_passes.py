from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

import geocsp
from geocsp.coords import sample_sphere
from geocsp.passes import evaluating, in_passes

ROWS = torch.arange(20.0).view(10, 2)


def test_passes_give_what_one_call_gives():
    model = nn.Linear(2, 3)
    for rows in (1, 3, 9, 10, 11):
        torch.testing.assert_close(in_passes(model, model, ROWS, rows=rows), model(ROWS).detach())


def test_every_row_is_computed_once_and_in_order():
    seen = []

    def function(part):
        seen.append(part.clone())
        return part

    assert torch.equal(in_passes(nn.Identity(), function, ROWS, rows=4), ROWS)
    assert [len(part) for part in seen] == [4, 4, 2]
    assert torch.equal(torch.cat(seen), ROWS)


def test_inputs_are_cut_together_and_none_stays_none():
    def function(first, missing, second):
        assert missing is None
        return first * 100 + second

    result = in_passes(nn.Identity(), function, ROWS, None, ROWS + 1, rows=3)
    assert torch.equal(result, ROWS * 100 + ROWS + 1)
    first_missing = in_passes(nn.Identity(), lambda none, rows: rows, None, ROWS, rows=3)
    assert torch.equal(first_missing, ROWS)


def test_no_rows_are_no_result_of_the_right_width():
    model = nn.Linear(2, 3)
    assert in_passes(model, model, ROWS[:0]).shape == (0, 3)


def test_results_keep_their_shape_and_type():
    result = in_passes(nn.Identity(), lambda x: (x > 3).view(-1, 1, 2), ROWS, rows=4)
    assert result.shape == (10, 1, 2)
    assert result.dtype == torch.bool


def test_there_is_no_gradient_and_no_dropout():
    model = nn.Sequential(nn.Linear(2, 3), nn.Dropout(0.5)).train()
    result = in_passes(model, model, ROWS, rows=3)
    assert not result.requires_grad
    assert torch.equal(result, in_passes(model, model, ROWS))


def test_every_part_gets_its_former_mode_back():
    model = nn.Sequential(nn.Dropout(0.5), nn.Sequential(nn.Dropout(0.5)))
    model.train()
    model[0].eval()
    with evaluating(model):
        assert not any(part.training for part in model.modules())
    assert [part.training for part in model.modules()] == [True, False, True, True]


def test_the_mode_comes_back_after_a_failure():
    model = nn.Dropout(0.5).train()

    def fail(part):
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        in_passes(model, fail, ROWS)
    assert model.training


def test_threads_that_share_a_model_in_training_see_no_dropout():
    torch.manual_seed(0)
    encoder = geocsp.create("location", "wrap-ffn", dim=8, dropout=0.5).train()
    places = sample_sphere(5000, torch.Generator().manual_seed(0))
    expected = encoder.embed(places)
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda _: encoder.embed(places), range(40)))
    assert all(torch.equal(one, expected) for one in found)
    assert all(part.training for part in encoder.modules())


def test_the_standard_pass_bounds_the_rows():
    sizes = []
    model = torch.nn.Identity()
    in_passes(model, lambda rows: sizes.append(len(rows)) or rows, torch.zeros(150_000, 1))
    assert sizes == [65_536, 65_536, 18_928]
