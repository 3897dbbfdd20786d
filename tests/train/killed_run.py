"""Trains in a process that is killed again and again, until it gets to the end.

Processes are forked from this one, which has imported everything and never trained.
"""

import os
import random
import signal
import sys
import time
import traceback
from pathlib import Path

import torch
from small_runs import FEATURES, PLACES, model

from geocsp import PretrainSettings
from geocsp.objectives.weighted import WeightedSum
from geocsp.train.checkpoint import Checkpoints
from geocsp.train.pretrain import pretrain

SETTINGS = PretrainSettings(
    epochs=8, batch_size=64, learning_rate=5e-3, ema=0.9, cosine=True, micro_batch=50
)
MEMBERS = [{"name": "csp-mc"}, {"name": "geoclip", "settings": {"queue": 100}}]


def train(folder):
    """32 steps, each of which is saved."""
    checkpoints = Checkpoints(folder, every=1, every_seconds=None)
    objective = WeightedSum(members=MEMBERS)
    pretrain(model(), objective, FEATURES, PLACES, SETTINGS, seed=0, checkpoints=checkpoints)


def forked(folder):
    """Start to train in a process of its own."""
    child = os.fork()
    if child:
        return child
    try:
        train(folder)
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def newest(folder):
    return max((int(path.stem[5:]) for path in folder.glob("step-*.safetensors")), default=0)


def is_writing(folder):
    return any(folder.glob(".*.tmp"))


def run_into_a_kill(folder, draws):
    """Train, and be killed after some steps, in every other case while a checkpoint is written.

    Returns:
        Whether the process was killed.
    """
    child, goal = forked(folder), newest(folder) + draws.randint(0, 7)
    amid, later = draws.random() < 0.5, draws.uniform(0, 0.01)
    while (status := os.waitpid(child, os.WNOHANG)) == (0, 0):
        if newest(folder) < goal or (amid and not is_writing(folder)):
            continue
        if not amid:
            time.sleep(later)
        os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)
        break
    assert os.WIFSIGNALED(status[1]) or os.waitstatus_to_exitcode(status[1]) == 0
    return os.WIFSIGNALED(status[1])


def killed_again_and_again(folder, draws):
    """Number of kills until the run is at its end, and of those that left half a checkpoint."""
    kills, halves = 0, 0
    while run_into_a_kill(folder, draws):
        kills += 1
        halves += is_writing(folder)
    return kills, halves


def main(folder):
    torch.set_num_threads(1)
    torch.optim.AdamW([torch.zeros(1)])  # imports more than one would think
    (folder / "killed").mkdir()
    print(*killed_again_and_again(folder / "killed", random.Random(0)))
    assert os.waitstatus_to_exitcode(os.waitpid(forked(folder / "undisturbed"), 0)[1]) == 0


if __name__ == "__main__":
    main(Path(sys.argv[1]))
