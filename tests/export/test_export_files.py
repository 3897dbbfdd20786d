"""What an ONNX file says about itself, and models that cannot become one."""

import json
from pathlib import Path

import onnx
import onnxruntime
import pytest
from small_models import (
    NAMES,
    classifier,
    encoder,
    geo_model,
    image_encoder,
    prior,
)

import geocsp
from geocsp.errors import DataError
from geocsp.export import Part, checked, export_onnx
from geocsp.images import OnnxEncoder
from geocsp.models import fingerprint_of

CLOSE = {"atol": 1e-5, "rtol": 1e-5}


def test_the_file_says_what_it_is(tmp_path):
    model = classifier(image=image_encoder())
    written = export_onnx(model, tmp_path / "a.onnx", opset=18)
    proto = onnx.load(tmp_path / "a.onnx")
    onnx.checker.check_model(proto, full_check=True)
    facts = {prop.key: prop.value for prop in proto.metadata_props}
    assert facts["geocsp.part"] == "classifier"
    assert facts["geocsp.model"] == "GeoClassifier"
    assert facts["geocsp.version"] == geocsp.__version__
    assert facts["geocsp.fingerprint"] == fingerprint_of(model) == written.fingerprint
    assert json.loads(facts["geocsp.class_names"]) == list(NAMES)
    assert "longitude first" in facts["geocsp.lonlat"]
    images = json.loads(facts["geocsp.images"])
    assert images == {
        "channels": 3,
        "pixels": 8,
        "mean": [128.0] * 3,
        "deviation": [60.0] * 3,
    }
    assert [o.version for o in proto.opset_import if o.domain == ""] == [18]
    assert written.bytes == (tmp_path / "a.onnx").stat().st_size
    assert written.difference.largest["probabilities"] <= checked.TOLERANCE
    assert written.difference.rows > 16
    session = onnxruntime.InferenceSession(str(tmp_path / "a.onnx"))
    assert session.get_modelmeta().custom_metadata_map == facts


def test_the_same_model_gives_the_same_bytes(tmp_path):
    for name in "ab":
        export_onnx(prior(), tmp_path / name, compare=False)
    content = (tmp_path / "a").read_bytes()
    assert content == (tmp_path / "b").read_bytes()
    assert str(Path(geocsp.__file__).parent).encode() not in content


@pytest.mark.parametrize(
    ("make", "part", "has"),
    [
        (encoder, Part.PRIOR, "location"),
        (encoder, Part.IMAGE, "location"),
        (geo_model, Part.CLASSIFIER, "location, image"),
        (prior, Part.IMAGE, "location, prior"),
    ],
)
def test_parts_that_a_model_lacks_are_told(tmp_path, make, part, has):
    with pytest.raises(DataError, match=rf"has no part '{part.value}'; it has {has}$"):
        export_onnx(make(), tmp_path / "a.onnx", part)


@pytest.mark.parametrize("opset", [17, 24])
def test_versions_of_operators_that_are_not_there_are_told(tmp_path, opset):
    with pytest.raises(DataError, match="opset must be from 18 to 23"):
        export_onnx(encoder(), tmp_path / "a.onnx", opset=opset)


def test_the_newest_operators(tmp_path):
    written = export_onnx(prior(), tmp_path / "a.onnx", opset=23)
    assert written.opset == 23
    (opset,) = [o.version for o in onnx.load(tmp_path / "a.onnx").opset_import if not o.domain]
    assert opset == 23


def test_a_tower_that_is_no_graph_is_one_clear_line(tmp_path):
    export_onnx(geo_model(image_encoder()), tmp_path / "tower.onnx", Part.IMAGE)
    model = geocsp.GeoModel(encoder(), 6, image=OnnxEncoder(tmp_path / "tower.onnx"))
    with pytest.raises(DataError, match="cannot become an ONNX graph") as error:
        export_onnx(model, tmp_path / "a.onnx", Part.IMAGE)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "a.onnx").exists()


def test_exporting_leaves_the_model_as_it_was(tmp_path):
    model = prior().train()
    before = fingerprint_of(model)
    export_onnx(model, tmp_path / "a.onnx")
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert fingerprint_of(model) == before
