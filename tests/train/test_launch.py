import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.multiprocessing.spawn import ProcessExitedException

import geocsp
from geocsp import GeoModel, PretrainSettings, pretrain
from geocsp.coords import sample_sphere
from geocsp.errors import DataError, MissingExtraError, NotFiniteError
from geocsp.process import Process
from geocsp.train.launch import Accelerator, launch
from geocsp.train.spawn import first_error, leave

TORCHRUN = str(Path(sys.executable).parent / "torchrun")


def report(device, text, module):
    """What this process is, and whether its copy of a module is its own."""
    process = Process.current()
    weight = module.weight.detach().clone()
    with torch.no_grad():
        module.weight += 1 + process.rank
    everybody = process.gather(torch.tensor([10 + process.rank]))
    own = torch.equal(module.weight.detach(), weight + (1 + process.rank))
    same = bool(process.mean(torch.tensor(float(own))) == 1)
    return str(device), text, process, everybody, same, torch.get_num_threads()


def test_alone_nothing_is_started():
    module = torch.nn.Linear(2, 1)
    for devices in (None, 1):
        device, text, process, everybody, own, threads = launch(
            report, "hello", module, devices=devices, accelerator=Accelerator.CPU
        )
        assert (device, text, process) == ("cpu", "hello", Process(0, 1))
        assert everybody.tolist() == [10]
        assert own
        assert threads == torch.get_num_threads()


def test_two_processes_meet_and_have_their_own_copies():
    module = torch.nn.Linear(2, 1)
    before = module.weight.detach().clone()
    device, text, process, everybody, own, threads = launch(
        report, "hello", module, devices=2, accelerator=Accelerator.CPU
    )
    assert (device, text, process) == ("cpu", "hello", Process(0, 2))
    assert everybody.tolist() == [10, 11]
    assert own
    assert torch.equal(module.weight, before)
    expected = os.environ.get("OMP_NUM_THREADS")
    assert threads == (int(expected) if expected else max(1, torch.get_num_threads() // 2))
    assert "MASTER_PORT" not in os.environ
    assert not multiprocessing.active_children()


def fail(device, how):
    process = Process.current()
    if process.rank == 1:
        if how == "bad data":
            raise NotFiniteError("row 3 is bad", [3])
        if how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if how == "exit":
            sys.exit(7)
    process.gather(torch.zeros(1))  # waits for one that never comes
    time.sleep(100)


@pytest.mark.parametrize(
    ("how", "kind", "message"),
    [
        ("bad data", NotFiniteError, r"^row 3 is bad\nin process 1:\nTraceback"),
        ("killed", RuntimeError, "^process 1 ended with SIGKILL; the others were ended too$"),
        ("exit", SystemExit, "^7$"),
    ],
)
def test_one_that_fails_ends_the_others_with_its_own_error(how, kind, message, capfd):
    start = time.monotonic()
    with pytest.raises(kind, match=message) as caught:
        launch(fail, how, devices=2, accelerator=Accelerator.CPU)
    assert time.monotonic() - start < 60
    assert not multiprocessing.active_children()
    if kind is NotFiniteError:
        assert caught.value.rows == [3]
        assert caught.value.__notes__[0].startswith("in process 1:\nTraceback")
    output = capfd.readouterr()
    assert "Traceback" not in output.err
    assert "lightning" not in output.err.lower()


class TwoPartsError(RuntimeError):
    def __init__(self, first, second):
        super().__init__(f"{first} and {second}")
        self.kept = first


def test_errors_are_copied_whatever_makes_them_and_the_first_counts(tmp_path):
    leave(TwoPartsError(3, 4), tmp_path, 1)
    leave(DataError("another"), tmp_path, 0)
    error = first_error(tmp_path, ProcessExitedException("", 0, 1, 1))
    assert isinstance(error, TwoPartsError)
    assert str(error) == "3 and 4"
    assert error.kept == 3


def test_an_error_that_cannot_be_copied_is_told(tmp_path):
    error = RuntimeError("no such thing")
    error.source = lambda: None
    leave(error, tmp_path, 1)
    copied = first_error(tmp_path, ProcessExitedException("", 1, 1, 1))
    assert repr(copied) == "RuntimeError('RuntimeError: no such thing')"


def test_wrong_numbers_of_devices_are_told(monkeypatch):
    with pytest.raises(ValueError, match="devices and nodes must be at least 1, got 0 and 1"):
        launch(report, devices=0)
    with pytest.raises(ValueError, match="for several nodes, set MASTER_ADDR, MASTER_PORT, NODE_"):
        launch(report, devices=2, nodes=2, accelerator=Accelerator.CPU)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ValueError, match="2 GPUs are wanted, but there are 1"):
        launch(report, devices=2)
    assert Accelerator.AUTO.kind() == Accelerator.CUDA.kind() == "cuda"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert Accelerator.AUTO.kind() == "cpu"
    with pytest.raises(ValueError, match="finds no GPU here"):
        launch(report, accelerator=Accelerator.CUDA)


def test_what_cannot_be_copied_is_told():
    with pytest.raises(ValueError, match=r"cannot be copied: .*at the top of a module"):
        launch(lambda device: None, devices=2, accelerator=Accelerator.CPU)


def test_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    with pytest.raises(MissingExtraError, match=r"geocsp\[train\]"):
        launch(report, devices=2, accelerator=Accelerator.CPU)
    assert launch(len_of, "abc", accelerator=Accelerator.CPU) == 3


def len_of(device, text):
    return len(text)


def test_other_numbers_than_were_started_are_refused(monkeypatch):
    for name, value in {"NTASKS": 4, "NNODES": 2, "NTASKS_PER_NODE": 2}.items():
        monkeypatch.setenv(f"SLURM_{name}", str(value))
    with pytest.raises(
        ValueError, match=r"2 processes on each of 2 nodes .* 3 devices and 1 nodes"
    ):
        launch(len_of, "abc", devices=3, accelerator=Accelerator.CPU)
    monkeypatch.setenv("SLURM_JOB_NAME", "interactive")
    assert launch(len_of, "abc", accelerator=Accelerator.CPU) == 3


def train(device):
    torch.manual_seed(0)
    location = geocsp.create(
        "location", "space2vec-grid", dim=8, frequencies=4, hidden=8, dropout=0
    )
    model = GeoModel(location, 6).to(device)
    generator = torch.Generator().manual_seed(1)
    places, features = sample_sphere(40, generator), torch.randn(40, 6, generator=generator)
    settings = PretrainSettings(epochs=2, batch_size=10, learning_rate=3e-3)
    pretrain(model, geocsp.create("objective", "clip"), features, places, settings, seed=0)
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def environment():
    """Variables for a program of its own, without those of a program that runs this one."""
    names = ("WORLD_SIZE", "RANK", "LOCAL_RANK", "MASTER_PORT", "MASTER_ADDR")
    kept = {name: value for name, value in os.environ.items() if name not in names}
    return kept | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parent)}


def begin(*command, **more):
    """Start a program in a session of its own, so that none of its processes need be left."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env=environment() | more, start_new_session=True, **pipes)


def finish(program):
    with program:
        try:
            output = program.communicate(timeout=100)
        except subprocess.TimeoutExpired:
            os.killpg(program.pid, signal.SIGKILL)
            raise
    return subprocess.CompletedProcess(program.args, program.returncode, *output)


def run(*command):
    return finish(begin(*command))


def script(folder, body):
    path = folder / "script.py"
    path.write_text(
        "import sys\nimport numpy as np\nfrom test_launch import *\n"
        f"if __name__ == '__main__':\n    {body}\n"
    )
    return str(path)


def test_scripts_can_start_processes(tmp_path):
    out = tmp_path / "weights.npy"
    body = f"np.save({str(out)!r}, launch(train, devices=2, accelerator=Accelerator.CPU).numpy())"
    ended = run(sys.executable, script(tmp_path, body))
    assert (ended.returncode, ended.stderr) == (0, "")
    expected = train(torch.device("cpu")).numpy()
    np.testing.assert_allclose(np.load(out), expected, atol=1e-5)


def test_torchrun_starts_processes(tmp_path):
    body = (
        f"np.save({str(tmp_path)!r} + '/' + os.environ['RANK'], "
        "launch(train, accelerator=Accelerator.CPU).numpy())"
    )
    ended = run(TORCHRUN, "--standalone", "--nproc-per-node", "2", script(tmp_path, body))
    assert ended.returncode == 0, ended.stderr
    expected = train(torch.device("cpu")).numpy()
    for rank in range(2):
        np.testing.assert_allclose(np.load(tmp_path / f"{rank}.npy"), expected, atol=1e-5)


def test_under_torchrun_the_error_that_came_first_is_told(tmp_path):
    body = "launch(fail, 'bad data', accelerator=Accelerator.CPU)"
    ended = run(TORCHRUN, "--standalone", "--nproc-per-node", "2", script(tmp_path, body))
    assert ended.returncode == 1
    assert "NotFiniteError: row 3 is bad" in ended.stderr
    assert "Connection closed" not in ended.stderr


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return str(one.getsockname()[1])


def srun(rank):
    counts = {"NTASKS": 2, "NNODES": 2, "NTASKS_PER_NODE": 1}
    own = {"PROCID": rank, "NODEID": rank, "LOCALID": 0}
    return {f"SLURM_{name}": str(value) for name, value in (counts | own).items()}


def by_hand(rank):
    return {"NODE_RANK": str(rank)}


@pytest.mark.parametrize(
    ("of_machine", "settings"), [(srun, ""), (by_hand, "devices=1, nodes=2, ")]
)
def test_two_machines_meet(tmp_path, of_machine, settings):
    body = f"print(*launch(report, 'x', torch.nn.Linear(2, 1), {settings}accelerator='cpu')[2:4])"
    path = script(tmp_path, body)
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    started = [begin(sys.executable, path, **meeting, **of_machine(rank)) for rank in range(2)]
    for rank, machine in enumerate(started):
        ended = finish(machine)
        assert ended.returncode == 0, ended.stderr
        assert f"Process(rank={rank}, world=2) tensor([10, 11])" in ended.stdout


def test_a_script_without_a_guard_is_told(tmp_path):
    path = tmp_path / "script.py"
    path.write_text("from test_launch import *\nlaunch(train, devices=2, accelerator='cpu')\n")
    ended = run(sys.executable, str(path))
    assert ended.returncode == 1
    assert 'put what the script does under if __name__ == "__main__":' in ended.stderr


def announce(device, folder):
    (folder / f"{Process.current().rank}").write_text(str(os.getpid()))
    Process.current().gather(torch.zeros(1))
    time.sleep(100)


def wait_until(condition):
    limit = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.05)


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


def heed_interrupts():
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # tests in the background inherit that they do not


def ignore_interrupts():
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize(
    ("end", "before"),
    [
        (signal.SIGINT, heed_interrupts),
        (signal.SIGKILL, heed_interrupts),
        (signal.SIGKILL, ignore_interrupts),
    ],
    ids=["interrupted", "killed", "killed under nohup"],
)
def test_no_process_outlives_the_one_that_started_it(tmp_path, end, before):
    body = f"launch(announce, Path({str(tmp_path)!r}), devices=2, accelerator=Accelerator.CPU)"
    files = [tmp_path / "0", tmp_path / "1"]
    with subprocess.Popen(
        [sys.executable, script(tmp_path, body)],
        env=environment(),
        stderr=subprocess.DEVNULL,
        preexec_fn=before,
    ) as parent:
        wait_until(lambda: all(f.exists() and f.read_text() for f in files))
        parent.send_signal(end)
        parent.wait(30)
    wait_until(lambda: not any(is_alive(int(f.read_text())) for f in files))
