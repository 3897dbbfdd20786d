"""``geocsp import`` on files that the tests make."""

import json

import numpy as np
import pytest
import torch
from layouts import PLACES, saved
from test_csp import PARAMS, TRAINING, content, tensors
from typer.testing import CliRunner

from geocsp import GeoPrior, import_checkpoint
from geocsp.cli import app
from geocsp.errors import DataError


def run(*arguments):
    return CliRunner().invoke(app, ["import", *map(str, arguments)])


def test_a_file_becomes_a_folder_that_answers_the_same(tmp_path):
    path = saved(tmp_path, content(PARAMS, tensors(PARAMS)))
    shown = run(path, "-o", tmp_path / "out", "--json")
    assert shown.exit_code == 0, shown.output
    facts = json.loads(shown.output)
    assert facts["encoder"] == "space2vec-grid"
    assert facts["classes"] > 1
    loaded = GeoPrior.from_pretrained(facts["folder"])
    direct = import_checkpoint(path)
    assert torch.equal(loaded.class_scores(PLACES), direct.class_scores(PLACES))
    assert "space2vec-grid" in run(path, "-o", tmp_path / "again").output


def test_class_names_and_training_places_come_from_files(tmp_path):
    params = PARAMS | {"spa_enc_type": "rbf", "rbf_kernel_size": 9.0}
    params["rbf_anchor_pt_ids"] = [3, 1, 4]
    state = tensors(params)
    width = state["spa_enc.ffn.layers.0.linear.weight"].shape[1]
    path = saved(tmp_path, content(params, state))
    np.save(tmp_path / "places.npy", TRAINING[:width].numpy())
    names = [f"class {i}" for i in range(len(state["class_emb.weight"]))]
    (tmp_path / "names.txt").write_text("\n".join(names))
    shown = run(
        *(path, "-o", tmp_path / "out"),
        *("--training-locations", tmp_path / "places.npy", "--class-names", tmp_path / "names.txt"),
    )
    assert shown.exit_code == 0, shown.output
    assert list(GeoPrior.from_pretrained(tmp_path / "out").class_names) == names


def test_names_must_be_as_many_as_the_classes(tmp_path):
    path = saved(tmp_path, content(PARAMS, tensors(PARAMS)))
    with pytest.raises(DataError, match=r"^1 class names, and .* has"):
        import_checkpoint(path, class_names=["only one"])


def test_an_output_that_is_a_file_is_told(tmp_path):
    path = saved(tmp_path, content(PARAMS, tensors(PARAMS)))
    shown = run(path, "-o", path)
    assert isinstance(shown.exception, DataError)
    assert "cannot write" in str(shown.exception)


@pytest.mark.parametrize("names", ["abcdef", ["a", "a"], ["", "b"], [1, 2]])
def test_names_must_tell_classes_apart(tmp_path, names):
    path = saved(tmp_path, content(PARAMS, tensors(PARAMS)))
    with pytest.raises(DataError, match=r"^class names"):
        import_checkpoint(path, class_names=names)


def test_a_path_that_no_system_takes_is_one_clear_error(tmp_path):
    with pytest.raises(DataError, match="cannot read"):
        import_checkpoint(tmp_path / ("x" * 300))
