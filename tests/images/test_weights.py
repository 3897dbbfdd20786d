import argparse
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from geocsp.errors import DataError
from geocsp.images.weights import (
    below,
    hub_file,
    load_tensors,
    read_json,
    read_tensors,
    source_file,
    url_file,
)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub that has some files in its cache and some behind the network."""
    huggingface_hub = pytest.importorskip("huggingface_hub")
    errors = pytest.importorskip("huggingface_hub.errors")
    cached, remote = {"a.bin"}, {"b.bin"}
    asked = []

    def download(repository, name, *, local_files_only):
        asked.append((repository, name, local_files_only))
        if name in cached or (name in remote and not local_files_only):
            return str(tmp_path / name)
        if not local_files_only and "offline" in repository:
            raise ConnectionError("Name or service\nnot known")
        raise errors.LocalEntryNotFoundError("no such file")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    return asked


def test_a_cached_file_of_the_hub_needs_no_network(hub, tmp_path):
    found = hub_file("org/net", ("x.bin", "a.bin"), allow_download=False)
    assert found == tmp_path / "a.bin"
    assert hub == [("org/net", "x.bin", True), ("org/net", "a.bin", True)]


def test_a_file_of_the_hub_is_fetched_only_when_allowed(hub, tmp_path):
    with pytest.raises(DataError) as caught:
        hub_file("org/net", ("b.bin",), allow_download=False)
    assert str(caught.value) == (
        "b.bin of org/net is not on this computer, and nothing is downloaded unasked: "
        "--allow-download (in Python allow_download=True) fetches it, or name a local file of "
        "weights"
    )
    assert hub_file("org/net", ("b.bin",), allow_download=True) == tmp_path / "b.bin"


def test_a_download_that_fails_is_one_line(hub):
    with pytest.raises(DataError) as caught:
        hub_file("org/offline", ("c.bin", "d.bin"), allow_download=True)
    assert str(caught.value) == (
        "c.bin of org/offline cannot be downloaded (Name or service not known); check the name and "
        "the network, or name a local file of weights"
    )
    assert len(hub) == 1


def test_the_real_hub_is_asked_for_cached_files_alone(monkeypatch, tmp_path, no_network):
    pytest.importorskip("huggingface_hub")
    with pytest.raises(DataError, match="nothing is downloaded unasked"):
        hub_file("org/net", ("model.safetensors",), allow_download=False)


def test_a_local_folder_is_a_source(tmp_path, no_network):
    (tmp_path / "b.json").write_text("{}")
    for source in (str(tmp_path), f"local-dir:{tmp_path}"):
        found = source_file(source, ("a.json", "b.json"), allow_download=True)
        assert found == tmp_path / "b.json"
    with pytest.raises(DataError, match=r"is no folder with a.json or c.json"):
        source_file(str(tmp_path), ("a.json", "c.json"), allow_download=True)
    with pytest.raises(DataError, match=r"^no/where is no folder with a.json"):
        source_file("local-dir:no/where", ("a.json",), allow_download=True)


def test_a_file_of_the_web_comes_from_the_cache_of_torch_hub(tmp_path, monkeypatch, no_network):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    url = "https://example.org/nets/net-0123abcd.pth?download=1"
    with pytest.raises(DataError, match=r"^net-0123abcd.pth is not on this computer"):
        url_file(url, allow_download=False)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "net-0123abcd.pth").write_bytes(b"")
    assert url_file(url, allow_download=False) == tmp_path / "checkpoints" / "net-0123abcd.pth"


def test_a_file_of_the_web_is_fetched_and_its_digest_compared(tmp_path, monkeypatch):
    asked = []

    def download(url, path, digest, progress):
        asked.append((url, digest))
        if "bad" in url:
            raise RuntimeError("invalid hash value")
        Path(path).write_bytes(b"weights")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    path = url_file("https://example.org/net-0123abcd.pth", allow_download=True)
    assert path.read_bytes() == b"weights"
    with pytest.raises(DataError, match=r"bad.pth cannot be downloaded \(invalid hash value\)"):
        url_file("https://example.org/bad.pth", allow_download=True)
    assert [digest for _, digest in asked] == ["0123abcd", None]


def test_tensors_are_read_from_every_kind_of_file(tmp_path):
    tensors = {"weight": torch.randn(2, 3), "bias": torch.randn(2)}
    save_file(tensors, tmp_path / "a.safetensors")
    torch.save(tensors, tmp_path / "b.pt")
    checkpoint = {"state_dict": tensors, "epoch": 3, "args": argparse.Namespace(lr=0.1, path="x")}
    torch.save(checkpoint, tmp_path / "c.pth.tar")
    torch.save(checkpoint, tmp_path / "d.pth", _use_new_zipfile_serialization=False)
    for path in sorted(tmp_path.iterdir()):
        found = read_tensors(path)
        assert found.keys() == tensors.keys(), path
        assert all(torch.equal(found[name], tensors[name]) for name in tensors)


class Hostile:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_file_that_would_run_code_is_refused_and_runs_nothing(tmp_path):
    victim = tmp_path / "victim"
    torch.save({"state_dict": {"a": torch.zeros(1)}, "args": Hostile(victim)}, tmp_path / "a.pth")
    with pytest.raises(DataError, match="asks to run"):
        read_tensors(tmp_path / "a.pth")
    assert not victim.exists()


def test_the_first_prefix_that_occurs_counts():
    tensors = {"module.q.a": 1, "module.q.b": 2, "module.k.a": 3, "queue": 4}
    assert below(tensors, ("q.", "module.q.", "module.k.")) == {"a": 1, "b": 2}
    assert below(tensors, ("x.",)) is tensors


def test_all_tensors_are_loaded():
    module = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    tensors = {
        n: torch.rand_like(t) for n, t in module.state_dict().items() if t.is_floating_point()
    }
    load_tensors(module, tensors | {"fc.weight": torch.zeros(1)}, "a.pth", unused=("fc.",))
    assert all(torch.equal(module.state_dict()[n], t) for n, t in tensors.items())


def test_tensors_that_do_not_fit_are_named():
    module = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2))
    tensors = {"0.weight": torch.zeros(3, 2), "0.bias": torch.zeros(4)}
    tensors |= {f"extra.{n}": torch.zeros(1) for n in range(6)}
    with pytest.raises(DataError) as caught:
        load_tensors(module, tensors, "a.pth", optional=("1.bias",))
    assert str(caught.value) == (
        "a.pth does not fit the network: it lacks 1.weight; has no use for extra.0, extra.1, "
        "extra.2, extra.3 and 2 more; has other shapes of 0.bias"
    )


@pytest.mark.parametrize("text", ["", "{", "[1]", "null", "[" * 100_000])
def test_damaged_settings_are_one_clear_error(tmp_path, text):
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(DataError, match=r"config.json"):
        read_json(path)
    path.write_text(json.dumps({"a": 1}))
    assert read_json(path) == {"a": 1}
