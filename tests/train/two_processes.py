"""Two processes of one gloo group that run functions together, one after the other."""

import multiprocessing
import os
import time

import torch
from torch import distributed as dist

_LIMIT = 120


class Pair:
    def __init__(self, folder):
        context = multiprocessing.get_context("spawn")
        self.pipes, self.processes = [], []
        for rank in range(2):
            ours, theirs = context.Pipe()
            worker = context.Process(
                target=_work, args=(rank, str(folder / "meeting"), theirs), daemon=True
            )
            worker.start()
            self.pipes.append(ours)
            self.processes.append(worker)

    def run(self, function, *arguments):
        """What the function returns in both processes; an error that it raises is raised here."""
        for pipe in self.pipes:
            pipe.send((function, arguments))
        limit = time.monotonic() + _LIMIT
        answers = []
        for rank, pipe in enumerate(self.pipes):
            if not pipe.poll(max(0, limit - time.monotonic())):
                self.close()
                raise TimeoutError(f"process {rank} gave no answer in {_LIMIT} s")
            answers.append(pipe.recv())
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return answers

    def close(self):
        for worker in self.processes:
            worker.kill()
            worker.join()


def _work(rank, meeting, pipe):
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    while True:
        function, arguments = pipe.recv()
        try:
            pipe.send(function(*arguments))
        except Exception as error:
            pipe.send(error)
