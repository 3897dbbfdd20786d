import torch

from geocsp.process import ALONE, Process


def test_alone_everything_stays_as_it_is():
    rows = torch.randn(3, 2, requires_grad=True)
    assert Process.current() == ALONE == Process(0, 1)
    assert ALONE.is_first
    assert ALONE.own(7) == slice(0, 7)
    assert ALONE.gather(rows) is rows
    assert ALONE.mean(rows) is rows
    assert ALONE.share({"a": 1}) == {"a": 1}
    rows.sum().backward()
    ALONE.average_gradients([rows])
    assert torch.equal(rows.grad, torch.ones(3, 2))
    before = rows.detach().clone()
    ALONE.spread([rows])
    assert torch.equal(rows.detach(), before)


def test_the_rows_of_all_processes_make_the_batch():
    rows = torch.arange(12)
    parts = [rows[Process(rank, 3).own(12)] for rank in range(3)]
    assert [len(part) for part in parts] == [4, 4, 4]
    assert torch.equal(torch.cat(parts), rows)
    assert [Process(rank, 3).is_first for rank in range(3)] == [True, False, False]
