"""The folder of a run: which run it is, how far it is, and who works in it."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout

from geocsp.config import read_config, settings_of, values_of, write_config
from geocsp.errors import DataError
from geocsp.files import write_atomically
from geocsp.presets import Preset
from geocsp.process import Process

CONFIG_FILE = "config.yaml"
RUN_FILE = "run.json"
MODEL_FOLDER, PRIOR_FOLDER, CHECKPOINT_FOLDER = "model", "prior", "checkpoints"
_SHOWN = 3
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class RunReport:
    """What ``run.json`` says.

    Attributes:
        finished: whether the run is at its end.
        epochs: epochs done, which early stopping can make fewer than planned.
        metrics: mean losses of the last epoch, or of the epoch whose weights were kept, and what
            validation measured then.
        images: how many images, or places, are trained on.
        held_out: how many look for their places.
        classes: number of classes.
        seconds: time spent training, without what was lost to a kill.
        starts: how often the run was started, interruptions included.
        device: what it was trained on.
        processes: how many trained together.
        seed: of all that is random.
        data: fingerprint of the data.
        versions: of what numbers depend on.
        settings: the preset.
    """

    finished: bool = False
    epochs: int = 0
    metrics: dict[str, float] = field(default_factory=dict)
    images: int = 0
    held_out: int = 0
    classes: int = 0
    seconds: float = 0.0
    starts: int = 0
    device: str = ""
    processes: int = 1
    seed: int = 0
    data: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Write ``run.json``, whole or not at all."""
        text = json.dumps(asdict(self), indent=2)
        write_atomically(folder / RUN_FILE, text.encode())


def begin(folder: Path, preset: Preset, data: str) -> RunReport:
    """Describe a new run in its folder, or find the same run there.

    A run that stopped before its first checkpoint has left nothing that another one could spoil.

    Args:
        folder: of the run; it is there.
        preset: how to train.
        data: fingerprint of the data.

    Returns:
        The report of the run, finished or with one more start.

    Raises:
        DataError: the folder holds another run, or cannot be read or written.
    """
    known = _read(folder, preset, data)
    if known.finished:
        return known
    versions = {name: version(name) for name in ("geocsp", "torch", "numpy")}
    report = replace(
        known,
        starts=known.starts + 1,
        seed=preset.seed,
        data=data,
        versions=versions | {"python": platform.python_version()},
        settings=values_of(preset),
    )
    try:
        write_atomically(folder / CONFIG_FILE, write_config(preset).encode())
        report.write(folder)
    except OSError as error:
        raise DataError(f"cannot write to {folder}: {error.strerror}") from error
    return report


def is_finished(folder: Path) -> bool:
    """Whether a folder holds a run that is at its end."""
    try:
        finished = json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))["finished"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return bool(finished)


def _read(folder: Path, preset: Preset, data: str) -> RunReport:
    """What the folder knows of this run; nothing if it is new."""
    if not (folder / RUN_FILE).exists() or not (folder / CONFIG_FILE).exists():
        return RunReport()
    try:
        values = json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{folder / RUN_FILE} is damaged ({error}); use another folder") from error
    known = settings_of(values, RunReport, str(folder / RUN_FILE))
    there = values_of(read_config(folder / CONFIG_FILE, Preset))
    differing = different(there, values_of(preset))
    if not differing and known.data == data:
        return known
    if not known.finished and not any((folder / CHECKPOINT_FOLDER).glob("*")):
        return RunReport()
    what = f"with other settings ({differing})" if differing else "on other data"
    raise DataError(f"{folder} holds a run {what}; use another folder")


def different(there: dict[str, Any], here: dict[str, Any]) -> str:
    """Paths of settings that differ, a few of them, as text."""
    first, second = _flat(there), _flat(here)
    names = [n for n in {**first, **second} if first.get(n, ...) != second.get(n, ...)]
    more = [f"{len(names) - _SHOWN} more"] if len(names) > _SHOWN else []
    return ", ".join(names[:_SHOWN] + more)


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        inner = isinstance(value, dict) and value
        flat |= _flat(value, f"{prefix}{name}.") if inner else {f"{prefix}{name}": value}
    return flat


@contextmanager
def alone(folder: Path, process: Process) -> Iterator[None]:
    """The folder, made if needed, for this run alone.

    Raises:
        DataError: another run is working in it, or it cannot be written.
    """
    lock = FileLock(folder / ".lock", timeout=0)

    def acquire() -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except Timeout:
            raise DataError(
                f"another run is working in {folder}; wait for it, or use another folder"
            ) from None
        except OSError as error:
            raise DataError(f"cannot write to {folder}: {error.strerror}") from error

    try:
        in_first(process, acquire)
        yield
    finally:
        lock.release()


def in_first(process: Process, work: Callable[[], _Result]) -> _Result:
    """Do something in the first process; all get its result, or its error.

    Raises:
        DataError: what the work raises.
    """
    result, reason = None, None
    if process.is_first:
        try:
            result = work()
        except DataError as error:
            reason = str(error)
    result, reason = process.share((result, reason))
    if reason is not None:
        raise DataError(reason)
    return result  # type: ignore[no-any-return]
