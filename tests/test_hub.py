import json
import logging
import subprocess
import sys

import pytest
import torch
from hub_server import serving

import geocsp
from geocsp import GeoPrior, hub
from geocsp.card import ModelCard
from geocsp.errors import DataError, MissingExtraError

huggingface_hub = pytest.importorskip("huggingface_hub")
PLACES = geocsp.coords.sample_sphere(20, torch.Generator().manual_seed(0))


@pytest.fixture
def there(monkeypatch, tmp_path):
    """A hub on this computer, with an empty cache."""
    from huggingface_hub import constants

    with serving() as (hub_, address):
        template = address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setenv("HF_TOKEN", "hf_test")
        yield hub_


def prior(seed=0):
    torch.manual_seed(seed)
    location = geocsp.create("location", "space2vec-grid", dim=6, frequencies=4, hidden=8)
    return GeoPrior(location, ["oak", "pine"]).eval()


def test_what_was_pushed_comes_back_to_the_bit(there):
    model = prior()
    model.card = ModelCard.of(model, title="Trees", license="cc0-1.0")
    address = hub.push(model, "me/trees")
    assert address == f"hf://me/trees@{there.branches['me/trees']['main']}"
    assert there.private["me/trees"]
    folder = hub.download(address)
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
    ]
    loaded = GeoPrior.from_pretrained(folder)
    assert torch.equal(loaded.class_scores(PLACES), model.class_scores(PLACES))
    assert loaded.card == model.card
    assert hub.address_of(folder) == address


def test_a_folder_is_pushed_as_it_is_and_in_one_commit(there, tmp_path):
    folder = prior().save_pretrained(tmp_path / "model")
    (folder / "secret.txt").write_text("mine")
    page = (folder / "README.md").read_text() + "\nWritten by hand.\n"
    (folder / "README.md").write_text(page)
    hub.push(folder, "me/trees", private=False, message="First")
    (files,) = [c for (repo, _), c in there.commits.items() if "config.json" in c]
    assert files["README.md"].decode() == page
    assert "secret.txt" not in files
    assert not there.private["me/trees"]


def test_a_branch_is_made_and_main_stays(there):
    main = hub.push(prior(0), "me/trees")
    other = hub.push(prior(1), "me/trees", revision="trial")
    assert hub.download("hf://me/trees").name == main.partition("@")[2]
    assert hub.download("hf://me/trees@trial").name == other.partition("@")[2]


def test_an_address_without_a_commit_is_said_with_one(there, caplog):
    pinned = hub.push(prior(), "me/trees")
    with caplog.at_level(logging.WARNING):
        hub.download("hf://me/trees")
    assert f"hf://me/trees is {pinned} today" in caplog.text
    caplog.clear()
    hub.download(pinned)
    assert caplog.text == ""


def test_a_commit_in_the_cache_is_taken_without_asking(there):
    pinned = hub.push(prior(), "me/trees")
    folder = hub.download(pinned)
    there.asked.clear()
    assert hub.download(pinned) == folder
    assert there.asked == []


def test_a_moved_branch_is_followed_and_a_commit_is_not(there):
    first = hub.push(prior(0), "me/trees")
    hub.download("hf://me/trees")
    second = hub.push(prior(1), "me/trees")
    assert hub.download("hf://me/trees").name == second.partition("@")[2]
    assert hub.download(first).name == first.partition("@")[2]


def test_nothing_but_three_files_is_fetched(there):
    hub.push(prior(), "me/trees")
    there.commit("me/trees", {"pytorch_model.bin": b"pickle", "sub/README.md": b"no"})
    folder = hub.download("hf://me/trees")
    assert {path.name for path in folder.iterdir()} == {
        "README.md",
        "config.json",
        "model.safetensors",
    }
    assert not any("pytorch_model.bin" in asked for asked in there.asked)


@pytest.mark.parametrize("revision", ["", "@main", "@pinned"])
def test_a_hub_that_is_down_leaves_the_cache(there, caplog, revision):
    pinned = hub.push(prior(), "me/trees")
    folder = hub.download("hf://me/trees@main")
    there.down = True
    address = pinned if revision == "@pinned" else f"hf://me/trees{revision}"
    assert hub.download(address) == folder
    assert ("taking" in caplog.text) == (revision != "@pinned")


def test_offline_and_not_in_the_cache_is_one_clear_line(there, monkeypatch):
    hub.push(prior(), "me/trees")
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(DataError, match=r"hf://me/trees is not in the cache, and the hub cannot"):
        hub.download("hf://me/trees")
    with pytest.raises(DataError, match="the hub cannot be reached"):
        hub.push(prior(), "me/other")


def test_the_offline_switch_of_the_hub_is_kept(there, monkeypatch):
    hub.push(prior(), "me/trees")
    folder = hub.download("hf://me/trees")
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    huggingface_hub.close_session()
    try:
        there.asked.clear()
        assert hub.download("hf://me/trees") == folder
        with pytest.raises(DataError, match="not in the cache"):
            hub.download("hf://me/others")
        assert there.asked == []
    finally:
        monkeypatch.undo()
        huggingface_hub.close_session()


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("hf://me/nothing", "no such model, or it is private"),
        ("hf://me/trees@nowhere", "no such revision"),
        ("hf://me/trees@" + "0" * 40, "no such revision"),
        ("hf://trees", "must be hf://owner/name"),
        ("hf://me/../trees", "must be hf://owner/name"),
        ("hf://me/trees@", "must be hf://owner/name"),
        ("https://me/trees", "must be hf://owner/name"),
    ],
)
def test_addresses_of_nothing_are_told(there, address, message):
    hub.push(prior(), "me/trees")
    with pytest.raises(DataError, match=message) as error:
        hub.download(address)
    assert "\n" not in str(error.value)


def test_repositories_of_other_things_are_told(there):
    there.commit("me/pickle", {"pytorch_model.bin": b"pickle"})
    with pytest.raises(DataError, match=r"no config\.json and model\.safetensors"):
        hub.download("hf://me/pickle")
    assert not any("/resolve/" in asked for asked in there.asked)


def test_a_large_model_is_refused_before_it_is_fetched(there):
    hub.push(prior(), "me/trees")
    there.claimed_sizes["model.safetensors"] = 2**40
    with pytest.raises(DataError, match="above the limit"):
        hub.download("hf://me/trees")
    assert not any("/resolve/" in asked for asked in there.asked)


def test_a_file_of_another_size_than_said_is_refused(there):
    hub.push(prior(), "me/trees")
    there.claimed_sizes["model.safetensors"] = 17
    with pytest.raises(DataError, match=r"model\.safetensors is not whole"):
        hub.download("hf://me/trees")


def test_mixed_and_half_folders_are_not_pushed(there, tmp_path):
    folder, other = (prior(s).save_pretrained(tmp_path / str(s)) for s in (0, 1))
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes((other / "model.safetensors").read_bytes())
    with pytest.raises(DataError, match="not the file that its config was written with"):
        hub.push(folder, "me/trees")
    (folder / "model.safetensors").write_bytes(weights)
    config = json.loads((folder / "config.json").read_text())
    del config["weights"]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(DataError, match="does not name its weights"):
        hub.push(folder, "me/trees")
    (folder / "README.md").unlink()
    with pytest.raises(DataError, match=r"README\.md is missing"):
        hub.push(folder, "me/trees")
    assert there.asked == []


def test_a_model_that_names_files_of_this_computer_is_not_pushed(there, tmp_path):
    folder = prior().save_pretrained(tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    config["image"] = {"name": "onnx", "settings": {"weights": str(tmp_path / "tower.onnx")}}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(DataError, match=r"names .*tower\.onnx, which others do not have"):
        hub.push(folder, "me/trees")
    assert there.asked == []


def test_without_the_library_the_extra_is_named(monkeypatch):
    from geocsp.images import libraries

    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(libraries, "import_module", missing)
    monkeypatch.setattr(libraries, "find_spec", lambda name: None)
    for act in (lambda: hub.download("hf://me/trees"), lambda: hub.push(prior(), "me/trees")):
        with pytest.raises(MissingExtraError, match=r"pip install 'geocsp\[hub\]'"):
            act()


def test_importing_the_module_does_not_import_the_library():
    code = "import sys, geocsp.hub; sys.exit('huggingface_hub' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
