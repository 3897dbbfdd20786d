import json
import os
import shutil

import pytest
import torch

import geocsp
from geocsp import GeoModel, GeoPrior, LinearPrior, saved_files
from geocsp.card import ModelCard
from geocsp.classifier import GeoClassifier
from geocsp.errors import DataError
from geocsp.location import LocationEncoder
from geocsp.train.finetune import ImageHead
from geocsp.train.simclr import ImageProjection

PLACES = geocsp.coords.sample_sphere(20, torch.Generator().manual_seed(0))
FILES = ["README.md", "config.json", "model.safetensors"]


def encoder(seed=0):
    torch.manual_seed(seed)
    return geocsp.create("location", "space2vec-grid", dim=6, frequencies=4, hidden=8).eval()


def prior(seed=0, kind=GeoPrior):
    return kind(encoder(seed), ["oak", "pine", "Ulmus × hollandica"]).eval()


def classifier():
    head = ImageHead(torch.zeros(7), torch.ones(7), torch.nn.Linear(7, 3))
    return GeoClassifier(GeoModel(encoder(), 7), prior(), head).eval()


KINDS = {
    LocationEncoder: encoder,
    GeoModel: lambda: GeoModel(encoder(), 7).eval(),
    GeoPrior: prior,
    LinearPrior: lambda: prior(kind=LinearPrior),
    GeoClassifier: classifier,
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_comes_back_with_its_card(tmp_path, kind):
    model = KINDS[kind]()
    card = ModelCard.of(model, title="Trees", license="cc0-1.0", seed=3)
    folder = model.save_pretrained(tmp_path / "first", card)
    assert sorted(path.name for path in folder.iterdir()) == FILES
    loaded = kind.from_pretrained(folder)
    assert torch.equal(loaded.embed(PLACES), model.embed(PLACES))
    assert loaded.card == card
    again = loaded.save_pretrained(tmp_path / "again")
    for name in FILES:
        assert (again / name).read_bytes() == (folder / name).read_bytes()


def test_parts_without_places_are_saved_too(tmp_path):
    part = ImageProjection(7, 4)
    folder = part.save_pretrained(tmp_path)
    loaded = ImageProjection.from_pretrained(folder)
    assert torch.equal(loaded.linear.weight, part.linear.weight)
    assert "ImageProjection.from_pretrained" in (folder / "README.md").read_text()


def test_folders_of_before_without_card_and_hash_are_read(tmp_path):
    folder = older(prior(), tmp_path)
    loaded = GeoPrior.from_pretrained(folder)
    assert torch.equal(loaded.class_scores(PLACES), prior().class_scores(PLACES))
    assert loaded.card is None
    again = loaded.save_pretrained(tmp_path / "again")
    assert "not known" in (again / "README.md").read_text()


def older(model, folder):
    """A folder as it was written before there were cards."""
    model.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    del config["card"], config["weights"]
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "README.md").unlink()
    return folder


def test_weights_of_another_model_of_the_same_shape_are_refused(tmp_path):
    folder, other = (
        prior(0).save_pretrained(tmp_path / "a"),
        prior(1).save_pretrained(tmp_path / "b"),
    )
    shutil.copy(other / "model.safetensors", folder)
    with pytest.raises(DataError, match=r"model\.safetensors is not the file that .* written with"):
        GeoPrior.from_pretrained(folder)


def test_a_single_flipped_bit_is_noticed(tmp_path):
    folder = prior().save_pretrained(tmp_path)
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(DataError, match=r"model\.safetensors"):
        GeoPrior.from_pretrained(folder)


class KilledError(BaseException):
    pass


@pytest.mark.parametrize("as_before", [False, True])
@pytest.mark.parametrize("writes", range(5))
def test_a_kill_at_any_time_leaves_one_model_whole(tmp_path, monkeypatch, writes, as_before):
    first, second = prior(0), prior(1)
    folder = first.save_pretrained(tmp_path)
    if as_before:
        older(first, tmp_path)
    write, left = saved_files.write_atomically, [writes]

    def killed(path, content):
        if not left[0]:
            raise KilledError
        left[0] -= 1
        return write(path, content)

    monkeypatch.setattr(saved_files, "write_atomically", killed)
    needed = 4 if as_before else 3
    if writes < needed:
        with pytest.raises(KilledError):
            second.save_pretrained(folder)
    else:
        second.save_pretrained(folder)
    found = GeoPrior.from_pretrained(folder).class_scores(PLACES)
    committed = writes >= needed - 1
    assert torch.equal(found, (second if committed else first).class_scores(PLACES))
    monkeypatch.undo()
    third = prior(2)
    third.save_pretrained(folder)
    assert sorted(path.name for path in folder.iterdir()) == FILES
    assert torch.equal(
        GeoPrior.from_pretrained(folder).class_scores(PLACES), third.class_scores(PLACES)
    )


def test_without_links_a_kill_is_noticed(tmp_path, monkeypatch):
    folder = prior(0).save_pretrained(tmp_path)

    def no_links(*_):
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", no_links)
    write = saved_files.write_atomically

    def killed(path, content):
        if path.name == "config.json":
            raise KilledError
        return write(path, content)

    monkeypatch.setattr(saved_files, "write_atomically", killed)
    with pytest.raises(KilledError):
        prior(1).save_pretrained(folder)
    with pytest.raises(DataError, match="is not the file that"):
        GeoPrior.from_pretrained(folder)


def test_a_new_folder_that_was_killed_is_no_model(tmp_path, monkeypatch):
    write = saved_files.write_atomically

    def killed(path, content):
        if path.name == "config.json":
            raise KilledError
        return write(path, content)

    monkeypatch.setattr(saved_files, "write_atomically", killed)
    with pytest.raises(KilledError):
        prior().save_pretrained(tmp_path)
    with pytest.raises(DataError, match=r"config\.json is missing"):
        GeoPrior.from_pretrained(tmp_path)


def test_a_readme_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "README.md").write_text("# My project\n\nlibrary_name: geocsp\n")
    with pytest.raises(DataError, match=r"README\.md is no model card of geocsp"):
        prior().save_pretrained(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]


def test_a_readme_edited_by_hand_is_replaced(tmp_path):
    folder = prior().save_pretrained(tmp_path)
    page = (folder / "README.md").read_text()
    (folder / "README.md").write_text(page.replace("\n", "\r\n") + "more")
    prior().save_pretrained(folder)
    assert (folder / "README.md").read_text() == page


@pytest.mark.parametrize(
    "changes",
    [
        {"location": "text"},
        {"location": {"name": "space2vec-grid", "settings": []}},
        {"location": {"name": "space2vec-grid", "settings": {"dim": 10**15}}},
        {"location": {"name": "space2vec-grid", "settings": {"dim": -1}}},
        {"location": {"name": "space2vec-grid", "settings": {"dim": "six"}}},
        {"location": {"name": "space2vec-grid", "settings": {"dim": 6, "run": "code"}}},
        {"location": {"name": "../../etc/passwd", "settings": {}}},
        {"classes": 10**15},
        {"classes": [1, 2, 3]},
        {"classes": [["oak"], ["pine"], ["elm"]]},
        {"classes": None},
        {"model": ["GeoPrior"]},
        {"card": "text"},
        {"card": {"unknown": 1}},
        {"card": {"metrics": [{"name": "a", "value": float("nan")}]}},
        {"weights": "../model"},
        {"weights": 7},
        {"weights": "0" * 64},
    ],
)
def test_a_hostile_config_is_one_clear_line(tmp_path, changes):
    folder = prior().save_pretrained(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))
    with pytest.raises(DataError, match=str(folder)) as error:
        GeoPrior.from_pretrained(folder)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"[" * 100_000, b"null", b'"text"'])
def test_a_config_of_anything_is_one_clear_line(tmp_path, content):
    folder = prior().save_pretrained(tmp_path)
    (folder / "config.json").write_bytes(content)
    with pytest.raises(DataError, match=r"config\.json is damaged") as error:
        GeoPrior.from_pretrained(folder)
    assert "\n" not in str(error.value)


def test_loaded_weights_can_be_trained_without_changing_the_file(tmp_path):
    folder = prior().save_pretrained(tmp_path)
    before = (folder / "model.safetensors").read_bytes()
    model = GeoPrior.from_pretrained(folder)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    assert (folder / "model.safetensors").read_bytes() == before
    model.save_pretrained(folder)  # over the file that it was loaded from
    again = GeoPrior.from_pretrained(folder)
    assert torch.equal(again.class_scores(PLACES), model.class_scores(PLACES))
