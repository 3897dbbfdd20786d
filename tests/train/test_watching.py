import pytest

from geocsp.train.watching import Audience, StepReport, Watcher

REPORT = StepReport(1, 10, 0, {"loss": 2.0}, 1e-3, 1.0, 10.0, 0.1, 1000)


class Recorder(Watcher):
    def __init__(self, fails=()):
        self.calls, self._fails = [], fails

    def _note(self, call):
        self.calls.append(call)
        if call[0] in self._fails:
            raise OSError("No space left on device")

    def on_start(self, step, steps):
        self._note(("start", step, steps))

    def on_step(self, report):
        self._note(("step", report))

    def on_epoch(self, step, epoch, means):
        self._note(("epoch", step, epoch, means))

    def on_save(self, step):
        self._note(("save", step))

    def on_finish(self):
        self._note(("finish",))


def watch(audience):
    audience.on_start(0, 10)
    audience.on_step(REPORT)
    audience.on_epoch(1, 0, {"loss": 2.0})
    audience.on_save(1)
    audience.on_finish()


ALL = [
    ("start", 0, 10),
    ("step", REPORT),
    ("epoch", 1, 0, {"loss": 2.0}),
    ("save", 1),
    ("finish",),
]


def test_all_are_told_everything_in_order():
    one, other = Recorder(), Recorder()
    watch(Audience([one, other]))
    assert one.calls == other.calls == ALL


def test_a_plain_watcher_does_nothing():
    watch(Audience([Watcher()]))


@pytest.mark.parametrize("what", ["step", "epoch", "save", "finish"])
def test_one_that_fails_is_let_go_and_the_others_go_on(what):
    failing, other = Recorder([what]), Recorder()
    message = (
        "Recorder failed and watches no longer, the run goes on: OSError: No space left on device"
    )
    with pytest.warns(UserWarning, match=message):
        watch(Audience([failing, other]))
    assert other.calls == ALL
    last = [call[0] for call in ALL].index(what)
    assert failing.calls == ALL[: last + 1]


def test_one_that_cannot_start_stops_the_run_and_those_that_did_start_are_closed():
    first, failing, never = Recorder(), Recorder(["start"]), Recorder()
    with pytest.raises(OSError, match="No space left on device"):
        Audience([first, failing, never]).on_start(0, 10)
    assert first.calls == [("start", 0, 10), ("finish",)]
    assert failing.calls == [("start", 0, 10)]
    assert never.calls == []


def test_an_interruption_by_the_user_is_no_failure():
    class Interrupted(Watcher):
        def on_step(self, report):
            raise KeyboardInterrupt

    audience = Audience([Interrupted()])
    audience.on_start(0, 10)
    with pytest.raises(KeyboardInterrupt):
        audience.on_step(REPORT)
