"""Starting processes here, waiting for them, and passing on what they return or raise."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from torch import distributed as dist
from torch.multiprocessing.spawn import ProcessExitedException, start_processes

from geocsp.train.group import echoes_held_back, meet, quiet

_Result = TypeVar("_Result")
_TASK, _RESULT, _ERROR = "task", "result", "error"


def start(function: Callable[..., _Result], arguments: tuple[Any, ...], strategy: Any) -> _Result:
    """Call the function in new processes and wait for them.

    Task and results go through files: a process that dies can leave half a message in a pipe, and
    weights in shared memory would be trained by all processes at once.

    Args:
        function: called with the device and the arguments.
        arguments: what else it is given.
        strategy: of :func:`geocsp.train.group.strategy`.

    Returns:
        What the function returns in the first process.

    Raises:
        ValueError: function or arguments cannot be copied.
        RuntimeError: a process was ended from outside.
        Exception: what the function raises in the process that fails first.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise SystemExit('geocsp: put what the script does under if __name__ == "__main__":')
    try:
        task = pickle.dumps((function, arguments))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ValueError(
            f"processes cannot be started with what cannot be copied: {error}; define the function "
            "at the top of a module"
        ) from error
    with TemporaryDirectory(prefix="geocsp-") as name, _none_left(strategy), quiet():
        folder = Path(name)
        (folder / _TASK).write_bytes(task)
        try:
            start_processes(_work, (strategy, folder), strategy.num_processes)
        except ProcessExitedException as error:
            raise first_error(folder, error) from None
        if not (folder / _RESULT).exists():
            raise RuntimeError("the first process ended before the function did")
        result: _Result = pickle.loads((folder / _RESULT).read_bytes())
    return result


def _work(rank: int, strategy: Any, folder: Path) -> None:
    """What each new process does."""
    os.environ["LOCAL_RANK"] = str(rank)
    # the end of the parent comes as this signal, which what nohup started would ignore
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with echoes_held_back():
            meet(strategy)
            function, arguments = pickle.loads((folder / _TASK).read_bytes())
            result = function(strategy.root_device, *arguments)
            if rank == 0:
                (folder / _RESULT).write_bytes(pickle.dumps(result))
            dist.destroy_process_group()
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except (Exception, SystemExit) as error:
        if not isinstance(error, SystemExit):
            error.add_note(f"in process {strategy.global_rank}:\n{traceback.format_exc()}")
        leave(error, folder, rank)
        raise SystemExit(1) from None


def leave(error: BaseException, folder: Path, rank: int) -> None:
    """Leave the error for the process that waits, unless another process has done so before."""
    own = folder / f"{_ERROR}-{rank}"
    try:
        own.write_bytes(pickle.dumps((type(error), error.args, vars(error))))
    except (pickle.PicklingError, AttributeError, TypeError):
        text = f"{type(error).__name__}: {error}"
        own.write_bytes(pickle.dumps((RuntimeError, (text,), {})))
    try:
        os.link(own, folder / _ERROR)
    except FileExistsError:
        return


def first_error(folder: Path, exited: ProcessExitedException) -> BaseException:
    """The error of the process that failed first."""
    if (folder / _ERROR).exists():
        kind, arguments, facts = pickle.loads((folder / _ERROR).read_bytes())
        error: BaseException = kind.__new__(kind, *arguments)
        vars(error).update(facts)
        return error
    how = exited.signal_name or f"exit code {exited.exit_code}"
    return RuntimeError(f"process {exited.error_index} ended with {how}; the others were ended too")


@contextmanager
def _none_left(strategy: Any) -> Iterator[None]:
    """A port for the processes that are started in the block, none of which outlives it."""
    before, port = set(multiprocessing.active_children()), os.environ.get("MASTER_PORT")
    os.environ["MASTER_PORT"] = str(strategy.cluster_environment.main_port)
    try:
        yield
    finally:
        for process in set(multiprocessing.active_children()) - before:
            process.kill()
            process.join()
        if port is None:
            del os.environ["MASTER_PORT"]
