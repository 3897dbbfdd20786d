import io

import pytest
from rich.console import Console as Terminal

from geocsp.train.watchers import Console, console
from geocsp.train.watching import StepReport


def report(step):
    parts = {"loss": 2.34567, "in_batch": 1.5}
    return StepReport(step, 1200, 3, parts, 1e-3, 0.5, 12345.6, 0.03, 3 * 2**29)


def shown(watch, **settings):
    text = io.StringIO()
    watch(Console(Terminal(file=text, width=90, **settings)))
    return text.getvalue()


def whole_run(watcher):
    watcher.on_start(10, 1200)
    watcher.on_step(report(11))
    watcher.on_step(report(12))
    means = {"loss": 2.0, "in_batch": 1 / 3, "validation.R@1": 0.125, "validation.median_km": 812.6}
    watcher.on_epoch(12, 3, means)
    watcher.on_epoch(24, 4, {"loss": 1.0})
    watcher.on_save(24)
    watcher.on_finish()


def test_without_a_terminal_there_is_a_line_for_each_epoch_alone():
    assert shown(whole_run) == (
        "epoch 3: loss 2, in_batch 0.3333\n"
        "  validation: R@1 0.125, median_km 812.6\n"
        "epoch 4: loss 1\n"
    )


def test_on_a_terminal_there_is_a_bar_with_the_numbers():
    text = shown(whole_run, force_terminal=True, color_system=None)
    assert "11/1,200 steps" in text
    assert "loss 2.346, in_batch 1.5; 12,346 images/s, 3% waiting, 1.50 GiB" in text
    assert "epoch 3: loss 2, in_batch 0.3333\n" in text
    assert text.endswith("\x1b[2K")  # the bar is taken away again


def test_the_bar_is_drawn_a_few_times_a_second_at_most(monkeypatch):
    now = iter(i / 100 for i in range(1000))
    monkeypatch.setattr(console.time, "monotonic", lambda: next(now))

    def two_seconds(watcher):
        watcher._drawn = -1.0
        watcher.on_start(0, 1200)
        for step in range(1, 201):
            watcher.on_step(report(step))
        watcher.on_finish()

    text = shown(two_seconds, force_terminal=True, color_system=None)
    assert text.count("images/s") == pytest.approx(10, abs=1)


def test_stopping_twice_or_before_the_start_does_nothing():
    def nothing(watcher):
        watcher.on_finish()
        watcher.on_start(0, 10)
        watcher.on_finish()
        watcher.on_finish()

    assert shown(nothing) == ""


def test_it_is_shown_on_stderr(capsys):
    whole_run(Console())
    out, err = capsys.readouterr()
    assert out == ""
    assert "epoch 4: loss 1" in err
