import pickle

import numpy as np
import pytest
import torch

import geocsp
from geocsp.errors import DataError
from geocsp.images import Framing, OnnxEncoder, Pooling
from geocsp.images.extract import features_of

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

WEIGHT = np.random.default_rng(0).normal(size=(6, 3, 4, 4)).astype(np.float32)


def write(
    path, *, shape=("batch", 3, 16, 16), output="vector", kind=np.float32, weight=WEIGHT, **saving
):
    """A convolution, then a map, tokens (B, 6, 16 patches), a vector, or all of them."""
    element = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    nodes = [
        helper.make_node("Conv", ["image", "weight"], ["map"], strides=[4, 4]),
        helper.make_node("Flatten", ["map"], ["flat"]),
        helper.make_node("Reshape", ["map", "three"], ["tokens"]),
        helper.make_node("ReduceMean", ["tokens"], ["vector"], axes=[2], keepdims=0),
    ]
    ranks = {"map": 4, "tokens": 3, "vector": 2}
    names = {"all": ["tokens", "vector"]}.get(output, [output])
    outputs = [
        helper.make_tensor_value_info(n, element, ["b", 6, "x", "y"][: ranks[n]]) for n in names
    ]
    constants = [
        numpy_helper.from_array(weight.astype(kind), "weight"),
        numpy_helper.from_array(np.array([0, 6, -1]), "three"),
    ]
    image = helper.make_tensor_value_info("image", element, shape)
    graph = helper.make_graph(nodes, "tower", [image], outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save_model(model, path, **saving)
    return path


def image(count, pixels=16, channels=3):
    return torch.randn(count, channels, pixels, pixels, generator=torch.Generator().manual_seed(1))


def expected(count):
    planes = torch.nn.functional.conv2d(image(count), torch.from_numpy(WEIGHT), stride=4)
    return planes.mean(dim=(2, 3))


@pytest.mark.parametrize("output", ["vector", "map", "all"])
@pytest.mark.parametrize("batch", ["batch", 1, 3])
def test_features_of_any_batch_whatever_batch_the_file_fixes(tmp_path, output, batch):
    path = write(tmp_path / "m.onnx", output=output, shape=(batch, 3, 16, 16))
    encoder = OnnxEncoder(path)
    assert encoder.dim == 6
    for count in (1, 3, 7):
        torch.testing.assert_close(encoder(image(count)), expected(count), atol=1e-5, rtol=1e-5)


def test_an_output_may_be_named_and_its_tokens_pooled(tmp_path):
    path = write(tmp_path / "m.onnx", output="all")
    tokens = OnnxEncoder(path, output="tokens")
    assert tokens.dim == 16  # (B, 6, 16): the file's own idea of tokens
    first = OnnxEncoder(path, output="tokens", pooling=Pooling.CLS)
    planes = torch.nn.functional.conv2d(image(2), torch.from_numpy(WEIGHT), stride=4)
    torch.testing.assert_close(first(image(2)), planes[:, 0].flatten(1), atol=1e-5, rtol=1e-5)
    with pytest.raises(DataError, match=r"no output 'logits'; it has tokens, vector"):
        OnnxEncoder(path, output="logits")


def test_half_precision_files_are_run(tmp_path):
    encoder = OnnxEncoder(write(tmp_path / "m.onnx", kind=np.float16))
    features = encoder(image(2))
    assert features.dtype == torch.float32
    torch.testing.assert_close(features, expected(2), atol=1e-2, rtol=1e-2)


def test_sizes_come_from_the_file_or_where_it_leaves_them_open_from_the_caller(tmp_path):
    fixed = write(tmp_path / "fixed.onnx")
    free = write(tmp_path / "free.onnx", shape=("n", "c", "h", "w"))
    assert OnnxEncoder(fixed).framing == Framing(16)
    assert OnnxEncoder(free).framing == Framing(224)
    assert OnnxEncoder(free, pixels=32, resize=36).framing == Framing(32, resize=36)
    with pytest.raises(DataError, match=r"fixed.onnx: pixels are 16 in the file, not 32"):
        OnnxEncoder(fixed, pixels=32)
    with pytest.raises(DataError, match=r"fixed.onnx: channels are 3 in the file, not 4"):
        OnnxEncoder(fixed, channels=4)


def test_any_number_of_channels(tmp_path):
    weight = np.ones((6, 13, 4, 4), dtype=np.float32)
    path = write(tmp_path / "m.onnx", shape=("b", 13, 16, 16), weight=weight)
    encoder = geocsp.create("image", "onnx", weights=path, mean=100.0, deviation=50.0)
    chips = np.full((2, 16, 16, 13), 150, dtype=np.uint8)
    features = features_of(encoder, chips, bfloat16=False)
    torch.testing.assert_close(features, torch.full((2, 6), 13.0 * 16))
    plain = features_of(OnnxEncoder(path), chips, bfloat16=False)  # ImageNet's means are for RGB
    torch.testing.assert_close(plain, torch.full((2, 6), 150.0 * 13 * 16))


def test_weights_in_another_file_count_in_the_fingerprint(tmp_path):
    prints = []
    for number, factor in enumerate((1, 1, 2)):
        folder = tmp_path / str(number)
        folder.mkdir()
        settings = {"save_as_external_data": True, "location": "w.bin", "size_threshold": 100}
        encoder = OnnxEncoder(write(folder / "m.onnx", weight=factor * WEIGHT, **settings))
        assert (folder / "w.bin").is_file()
        torch.testing.assert_close(encoder(image(2)), factor * expected(2), atol=1e-4, rtol=1e-4)
        prints.append(encoder.fingerprint())
    assert prints[0] == prints[1] != prints[2]


def test_the_fingerprint_covers_file_framing_output_and_pooling(tmp_path):
    path = write(tmp_path / "a.onnx", output="all")
    other = write(tmp_path / "b.onnx", output="all", weight=WEIGHT + 1)
    encoders = [
        OnnxEncoder(path),
        OnnxEncoder(other),
        OnnxEncoder(path, resize=20),
        OnnxEncoder(path, mean=1.0),
        OnnxEncoder(path, output="tokens"),
        OnnxEncoder(path, output="tokens", pooling=Pooling.CLS),
    ]
    assert len({encoder.fingerprint() for encoder in encoders}) == len(encoders)


def test_an_encoder_survives_the_way_to_another_process(tmp_path):
    encoder = OnnxEncoder(write(tmp_path / "m.onnx"))
    copy = pickle.loads(pickle.dumps(encoder))
    assert copy.fingerprint() == encoder.fingerprint()
    assert torch.equal(copy(image(2)), encoder(image(2)))


def test_weights_outside_of_the_folder_are_refused(tmp_path):
    folder = tmp_path / "inner"
    folder.mkdir()
    settings = {"save_as_external_data": True, "location": "w.bin", "size_threshold": 100}
    path = write(folder / "m.onnx", **settings)
    (folder / "w.bin").rename(tmp_path / "w.bin")
    model = onnx.load(path, load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = "../w.bin"
    onnx.save_model(model, path)
    with pytest.raises(DataError, match=r"cannot read .*m.onnx: "):
        OnnxEncoder(path)


@pytest.mark.parametrize("content", [b"", b"no protocol buffer at all", b"\x08\x09\x12"])
def test_damaged_files_are_one_clear_error(tmp_path, content):
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"m.onnx") as caught:
        OnnxEncoder(path)
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match=r"none.onnx does not exist"):
        OnnxEncoder(tmp_path / "none.onnx")


def test_networks_that_take_no_square_images_are_refused(tmp_path):
    wide = write(tmp_path / "wide.onnx", shape=("b", 3, 16, 32))
    with pytest.raises(DataError, match="takes images of 16 x 32, which are no squares"):
        OnnxEncoder(wide)
    node = helper.make_node("Identity", ["text"], ["vector"])
    text = helper.make_tensor_value_info("text", TensorProto.INT64, ["b", 7])
    vector = helper.make_tensor_value_info("vector", TensorProto.INT64, ["b", 7])
    graph = helper.make_graph([node], "text", [text], [vector])
    opsets = [helper.make_opsetid("", 17)]
    onnx.save_model(
        helper.make_model(graph, opset_imports=opsets, ir_version=9), tmp_path / "text.onnx"
    )
    with pytest.raises(DataError, match=r"takes text \['b', 7\] tensor\(int64\); an image encoder"):
        OnnxEncoder(tmp_path / "text.onnx")


def test_a_network_that_fails_says_on_what(tmp_path):
    path = write(tmp_path / "m.onnx", shape=("b", "c", "h", "w"))
    with pytest.raises(DataError, match=r"m.onnx fails on \(1, 4, 16, 16\)"):
        OnnxEncoder(path, pixels=16, channels=4, mean=0.0, deviation=1.0)
