import json
import math
import resource
from contextlib import contextmanager

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from geocsp.errors import DataError
from geocsp.train.snapshot import Snapshot

TENSORS = {
    "matrix": torch.randn(3, 4),
    "turned": torch.randn(4, 3).T,
    "number": torch.tensor(5),
    "empty": torch.zeros(0, 2),
    "half": torch.randn(7).bfloat16(),
    "exact": torch.randn(2, dtype=torch.float64),
    "flags": torch.tensor([True, False]),
    "not finite": torch.tensor([math.nan, -math.inf]),
}
FACTS = {"history": [{"loss": 0.1 + 0.2, "B": 5e-324}, {"loss": math.inf}], "best": None, "n": 3}
IDENTITY = {"seed": "0", "settings.batch_size": "64"}


def write(path, tensors=TENSORS, facts=FACTS):
    Snapshot(tensors, facts, IDENTITY).write(path)
    return path


def test_everything_comes_back_exactly(tmp_path):
    read = Snapshot.read(write(tmp_path / "a"))
    assert read.tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert read.tensors[name].dtype == tensor.dtype
        torch.testing.assert_close(read.tensors[name], tensor, rtol=0, atol=0, equal_nan=True)
    assert read.facts == FACTS
    assert list(read.facts["history"][0]) == ["loss", "B"]
    assert read.identity == IDENTITY


def test_numbers_that_are_not_finite_come_back(tmp_path):
    facts = Snapshot.read(write(tmp_path / "a", facts={"x": math.nan, "y": -math.inf})).facts
    assert math.isnan(facts["x"])
    assert facts["y"] == -math.inf


def test_tensors_that_share_memory(tmp_path):
    whole = torch.arange(6.0)
    shared = {"whole": whole, "same": whole, "part": whole[2:4], "rows": whole.view(2, 3)}
    read = Snapshot.read(write(tmp_path / "a", shared))
    for name, tensor in shared.items():
        assert torch.equal(read.tensors[name], tensor)
    read.tensors["same"].zero_()
    assert torch.equal(read.tensors["whole"], whole)


def test_what_is_read_is_independent_of_the_file(tmp_path):
    path = write(tmp_path / "a")
    read = Snapshot.read(path)
    path.write_bytes(b"\0" * path.stat().st_size)
    assert torch.equal(read.tensors["matrix"], TENSORS["matrix"])


def test_a_file_replaces_the_one_before_and_leaves_nothing_else(tmp_path):
    path = write(tmp_path / "a", {"x": torch.zeros(2)})
    write(path, {"x": torch.ones(2)})
    assert torch.equal(Snapshot.read(path).tensors["x"], torch.ones(2))
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_a_file_is_replaced_in_one_go(tmp_path):
    path = write(tmp_path / "a", {"x": torch.zeros(2)})
    (tmp_path / "before").hardlink_to(path)
    write(path, {"x": torch.ones(2)})
    assert torch.equal(Snapshot.read(tmp_path / "before").tensors["x"], torch.zeros(2))


@pytest.mark.parametrize("place", [0, 3, 9, 60, -400, -60, -1])
def test_a_changed_byte_is_noticed(tmp_path, place):
    path = write(tmp_path / "a")
    content = bytearray(path.read_bytes())
    content[place] ^= 0x10
    path.write_bytes(content)
    with pytest.raises(DataError, match="a is missing or damaged: "):
        Snapshot.read(path)


@pytest.mark.parametrize("length", [0, 1, 8, 100, 700, -1])
def test_a_short_file_is_noticed(tmp_path, length):
    path = write(tmp_path / "a")
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(DataError, match="a is missing or damaged: "):
        Snapshot.read(path)


def test_other_files_are_told_apart(tmp_path):
    save_file({"x": torch.zeros(2)}, tmp_path / "plain")
    save_file({"x": torch.zeros(2)}, tmp_path / "other", {"facts": "{}"})
    for name in ("plain", "other", "none", "."):
        with pytest.raises(DataError, match="is missing or damaged: "):
            Snapshot.read(tmp_path / name)


def test_the_header_is_json_that_others_can_read(tmp_path):
    with safe_open(write(tmp_path / "a"), framework="pt") as file:
        header = file.metadata()
        assert torch.equal(file.get_tensor("matrix"), TENSORS["matrix"])
    assert json.loads(header["identity"]) == IDENTITY
    assert len(header["sha256"]) == 64


@contextmanager
def files_of_at_most(size):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_where_nothing_more_can_be_written_the_old_file_stays(tmp_path):
    path = write(tmp_path / "a")
    before = path.read_bytes()
    with (
        files_of_at_most(20_000),
        pytest.raises(DataError, match=r"cannot write .*a: .*; make room there or choose another"),
    ):
        write(path, {"x": torch.zeros(100_000)})
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match=r"cannot write .*none/a: "):
        write(tmp_path / "none" / "a")
