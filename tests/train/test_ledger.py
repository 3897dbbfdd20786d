import math
from dataclasses import replace

import pytest
import torch

from geocsp.data.samplers import Uniform
from geocsp.errors import DataError, NotFiniteError
from geocsp.objectives.base import Places, Views
from geocsp.process import ALONE, Process
from geocsp.train.ledger import Ledger
from geocsp.train.plan import Plan
from geocsp.train.state import Progress
from geocsp.train.watching import Watcher

PLAN = Plan.of(Uniform().fit(torch.zeros(12, 2)), 12, 4, 50, ALONE, 0)
"""Three steps an epoch."""
ROWS = torch.tensor([7, 3, 11, 5])
OFF = torch.amp.GradScaler("cpu", enabled=False)
ELSEWHERE = torch.device("meta")
"""A device whose numbers are looked at now and then only."""


class Told(Watcher):
    def __init__(self):
        self.news = []

    def on_start(self, step, steps):
        self.news.append(("start", step, steps))

    def on_step(self, report):
        self.news.append(report)

    def on_epoch(self, step, epoch, means):
        self.news.append(("epoch", step, epoch, dict(means)))

    def on_save(self, step):
        self.news.append(("save", step))

    def on_finish(self):
        self.news.append(("finish",))


def views(**more):
    raw, image = (torch.randn(4, 5, requires_grad=True) for _ in range(2))
    given = {"raw_location": raw * 1, "image": image * 1} | more
    for name in ("raw_location", "image"):
        if given[name] is not None:
            given[name].retain_grad()
    return Views(lonlat=torch.zeros(4, 2), location=raw, scale=torch.tensor(1.0), **given)


def enter(ledger, progress, loss=1.0, part=0.0, norm=3.0, seen=None):
    parts = {"loss": torch.tensor(loss), "B": torch.tensor(part)}
    given = views() if seen is None else seen
    ledger.enter(progress, parts, torch.tensor(norm), 0.1, ROWS, given)
    progress.step += 1


def ledger(device="cpu", scaler=OFF, watchers=(), process=ALONE):
    return Ledger(PLAN, process, torch.device(device), watchers, scaler)


@pytest.mark.parametrize("device", ["cpu", ELSEWHERE])
def test_an_epoch_has_the_means_of_its_steps(device):
    books, progress = ledger(device), Progress()
    for number in range(6):
        enter(books, progress, loss=number, part=0.5 * number)
        if progress.step % 3 == 0:
            books.settle(progress)
            measured = {"validation.R@1": 0.25} if number > 3 else {}
            means = books.close_epoch(progress, measured)
            assert means == progress.history[-1]
    assert progress.history == [
        {"loss": 1.0, "B": 0.5},
        {"loss": 4.0, "B": 2.0, "validation.R@1": 0.25},
    ]
    assert progress.sums == {}


def test_an_interrupted_epoch_has_the_same_means():
    whole, parts = Progress(), Progress()
    losses = torch.rand(3, dtype=torch.float64).tolist()
    books = ledger()
    for loss in losses:
        enter(books, whole, loss)
    enter(ledger(), parts, losses[0])
    parts = Progress(parts.step, dict(parts.sums))
    for loss in losses[1:]:
        enter(ledger(), parts, loss)
    assert whole.sums == parts.sums


def test_numbers_keep_their_precision():
    books, progress = ledger(), Progress()
    parts = {"loss": torch.tensor(0.1, dtype=torch.float64), "B": torch.tensor(0.1)}
    books.enter(progress, parts, torch.tensor(1.0), 0.1, ROWS, views())
    assert progress.sums == {"loss": 0.1, "B": float(torch.tensor(0.1))}


def test_watchers_are_told_everything():
    told, progress = Told(), Progress(step=3)
    books = ledger(watchers=[told])
    books.start(progress)
    assert list(books.waiting_for([1, 2])) == [1, 2]
    enter(books, progress, loss=2.0, part=1.0)
    books.close_epoch(progress, {})
    books.close_for_saving(progress)
    books.finish()
    start, step, epoch, save, finish = told.news
    assert start == ("start", 3, 150)
    assert (step.step, step.steps, step.epoch) == (4, 150, 1)
    assert step.parts == {"loss": 2.0, "B": 1.0}
    assert (step.learning_rate, step.gradient_norm) == (0.1, 3.0)
    assert step.images_per_second > 0
    assert 0 <= step.wait_share <= 1
    assert step.peak_memory > 10_000_000
    assert epoch == ("epoch", 4, 0, {"loss": 2 / 3, "B": 1 / 3})
    assert (save, finish) == (("save", 4), ("finish",))


def test_only_the_first_process_tells():
    told = Told()
    books = ledger(watchers=[told], process=Process(1, 2))
    books.start(Progress())
    books.finish()
    assert told.news == []


def test_numbers_elsewhere_are_looked_at_now_and_then_and_before_saving():
    told, progress = Told(), Progress()
    books = ledger(ELSEWHERE, watchers=[told])
    for _ in range(19):
        enter(books, progress)
    assert told.news == []
    enter(books, progress)
    assert [report.step for report in told.news] == list(range(1, 21))
    enter(books, progress)
    books.close_for_saving(progress)
    assert told.news[-2].step == 21
    assert progress.sums["loss"] == 21


def test_a_number_elsewhere_that_is_not_finite_is_found_before_saving():
    told, progress = Told(), Progress()
    books = ledger(ELSEWHERE, watchers=[told])
    enter(books, progress)
    enter(books, progress, loss=math.nan)
    with pytest.raises(NotFiniteError, match=r"loss is nan .* in epoch 0, step 1; rows 7, 3, 11"):
        books.close_for_saving(progress)
    assert [report.step for report in told.news] == [1]


def rows_of(seen, **numbers):
    with pytest.raises(NotFiniteError) as raised:
        enter(ledger(), Progress(step=4), seen=seen, **numbers)
    assert isinstance(raised.value, DataError)
    return raised.value.rows, str(raised.value)


def spoiled(shape, row, value):
    tensor = torch.randn(shape)
    tensor[row, 1] = value
    return tensor


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["features", "image", "raw_location"])
def test_the_row_of_an_embedding_that_is_not_finite(name, value):
    seen = views(**{name: spoiled((4, 5), 2, value).requires_grad_()})
    rows, message = rows_of(seen, loss=math.nan)
    assert rows == [11]
    assert message == (
        "loss is nan and the gradient's length 3.0 in epoch 1, step 1; rows 11; look at these "
        "rows, or try a lower learning rate"
    )


def test_the_rows_of_places_of_an_image_that_are_not_finite():
    random = Places.of(torch.zeros(4, 3, 2), spoiled((4, 3, 5), 1, math.nan).requires_grad_())
    free = Places.of(torch.zeros(4, 2), spoiled((4, 5), 0, math.nan).requires_grad_())
    assert rows_of(views(extra={"random": random}), loss=math.inf)[0] == [3]
    assert rows_of(views(extra={"free": free}), loss=math.inf)[0] == ROWS.tolist()


@pytest.mark.parametrize("norm", [math.nan, math.inf])
def test_the_row_of_a_gradient_that_is_not_finite(norm):
    seen = views()
    (seen.image.sum(1) * torch.tensor([1.0, 1.0, 1.0, norm])).sum().backward()
    rows, message = rows_of(seen, norm=norm)
    assert rows == [5]
    assert message.startswith(f"loss is 1.0 and the gradient's length {norm} in")


def test_all_rows_where_none_stands_out():
    rows, message = rows_of(replace(views(), image=None), loss=math.inf)
    assert rows == ROWS.tolist()
    assert "rows 7, 3, 11, 5;" in message


def test_many_rows_are_not_all_listed():
    many = torch.arange(25)
    seen = Views(torch.zeros(25, 2), torch.zeros(25, 5), torch.zeros(25, 5), torch.tensor(1.0))
    lost = {"loss": torch.tensor(math.nan)}
    with pytest.raises(NotFiniteError, match="rows 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 15 more") as e:
        ledger().enter(Progress(), lost, torch.tensor(1.0), 0.1, many, seen)
    assert e.value.rows == many.tolist()


def scaler(scale):
    made = torch.amp.GradScaler("cpu", init_scale=scale)
    made.scale(torch.tensor(1.0))
    return made


def test_a_scaled_gradient_may_overflow_until_there_is_nothing_left_to_scale():
    progress = Progress()
    enter(ledger(scaler=scaler(2.0)), progress, norm=math.inf)
    assert progress.sums["loss"] == 1.0
    with pytest.raises(NotFiniteError):
        enter(ledger(scaler=scaler(2.0)), progress, loss=math.nan)
    with pytest.raises(NotFiniteError):
        enter(ledger(scaler=scaler(0.5)), progress, norm=math.nan)
