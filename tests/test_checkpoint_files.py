"""Files are read without running anything in them, and what cannot be read is one clear error."""

import builtins
import io
import math
import os
import pickle
import resource
import sys
import time
import zipfile
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from layouts import PLACES, drawn, feed_forward, linear, model_or_refusal, refusal, saved
from PIL import Image
from safetensors.torch import save_file
from test_csp import PARAMS, tensors
from test_geoclip import tensors as geoclip_tensors

from geocsp import checkpoints, import_checkpoint

FORMATS = [pytest.param(True, id="zip"), pytest.param(False, id="legacy")]


def content(params=PARAMS, state=None):
    return {"epoch": 1, "state_dict": tensors(PARAMS) if state is None else state, "params": params}


def written(content, zipped=True):
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=zipped)
    return file.getvalue()


def file_of(folder, some_bytes, name="model.pth"):
    (folder / name).write_bytes(some_bytes)
    return folder / name


class Calls:
    """Calls a function when it is unpickled."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def hostile(kind, victim):
    return {
        "os.system": lambda: Calls(os.system, f"touch {victim}"),
        "eval": lambda: Calls(builtins.eval, f"open({str(victim)!r}, 'w')"),
        "exec": lambda: Calls(builtins.exec, f"open({str(victim)!r}, 'w')"),
        "open": lambda: Calls(builtins.open, str(victim), "w"),
        "mkdir": lambda: Calls(os.mkdir, str(victim)),
        "torch.save": lambda: Calls(torch.save, {}, str(victim)),
        "numpy": lambda: Calls(np.ndarray.tofile, np.zeros(1), str(victim)),
    }[kind]()


KINDS = ["os.system", "eval", "exec", "open", "mkdir", "torch.save", "numpy"]
PLACED = {
    "alone": lambda bad: bad,
    "beside": lambda bad: content() | {"extra": bad},
    "in the tensors": lambda bad: content(state=tensors(PARAMS) | {"bad": bad}),
    "as the tensors": lambda bad: content(state=bad),
    "in the params": lambda bad: content(PARAMS | {"note": bad}),
    "deep in the params": lambda bad: content(PARAMS | {"note": [{"a": (1, [bad])}]}),
    "in the optimizer": lambda bad: content() | {"optimizer": {"state": {0: {"step": bad}}}},
    "as a key": lambda bad: content() | {bad: 1},
}


@pytest.mark.parametrize("zipped", FORMATS)
@pytest.mark.parametrize("place", PLACED)
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_in_a_file_is_executed(kind, place, zipped, tmp_path):
    victim = tmp_path / "victim"
    path = file_of(tmp_path, written(PLACED[place](hostile(kind, victim)), zipped))
    refusal(path)
    assert not victim.exists()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_nothing_in_a_plain_pickle_is_executed(kind, protocol, tmp_path):
    victim = tmp_path / "victim"
    some_bytes = pickle.dumps({"state_dict": hostile(kind, victim)}, protocol)
    for name in ("model.pkl", "model.pth.tar", "model.ckpt", "model.safetensors"):
        refusal(file_of(tmp_path, some_bytes, name))
        assert not victim.exists()


@pytest.mark.parametrize("kind", KINDS)
def test_such_files_would_have_been_executed(kind, tmp_path):
    victim = tmp_path / "victim"
    path = file_of(tmp_path, written(hostile(kind, victim)))
    torch.load(path, weights_only=False)
    assert victim.exists()


def test_what_a_file_asks_to_run_is_named(tmp_path):
    message = refusal(file_of(tmp_path, written(content() | {"a": Calls(os.system, "true")})))
    assert "asks to run posix.system, which was not done" in message


def not_a_checkpoint():
    picture = io.BytesIO()
    Image.new("RGB", (9, 9)).save(picture, "png")
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("a.txt", "text")
    random = np.random.default_rng(0)
    return {
        "empty": b"",
        "text": b"once upon a time\n",
        "json": b'{"state_dict": {"a": [1, 2]}}',
        "image": picture.getvalue(),
        "random": random.bytes(3000),
        "random that starts like a zip": b"PK\x03\x04" + random.bytes(3000),
        "random that starts like a pickle": b"\x80\x02" + random.bytes(3000),
        "zeros": bytes(5000),
        "another zip": archive.getvalue(),
        "a plain pickle": pickle.dumps({"state_dict": {"a": [1, 2]}}),
        "a pickle without end": b"\x80\x02" + b"]" * 5000,
        "deep lists": b"\x80\x02" + b"]" * 5000 + b"a" * 4999 + b".",
        "a line break": b"\x80\x02cos\nsystem\n.",
    }


@pytest.mark.parametrize("kind", not_a_checkpoint())
@pytest.mark.parametrize("name", ["model.pth", "model.safetensors"])
def test_what_is_no_checkpoint_is_refused(kind, name, tmp_path):
    refusal(file_of(tmp_path, not_a_checkpoint()[kind], name))


def test_what_is_not_there_is_refused(tmp_path):
    assert refusal(tmp_path / "nothing.pth").endswith("does not exist or is no file")
    assert refusal(tmp_path).endswith("model.safetensors does not exist or is no file")
    (tmp_path / "model.safetensors").mkdir()
    assert refusal(tmp_path).endswith("model.safetensors does not exist or is no file")


@pytest.mark.parametrize("zipped", FORMATS)
def test_files_cut_short_anywhere_are_refused(zipped, tmp_path):
    whole = written(content(), zipped)
    cuts = np.random.default_rng(0).integers(1, len(whole), 60).tolist()
    for cut in [*cuts, 1, 2, len(whole) // 2, len(whole) - 1]:
        refusal(file_of(tmp_path, whole[:cut]))


def test_safetensors_cut_short_anywhere_are_refused(tmp_path):
    save_file(geoclip_tensors(), tmp_path / "whole.safetensors")
    whole = (tmp_path / "whole.safetensors").read_bytes()
    cuts = np.random.default_rng(0).integers(0, len(whole), 60).tolist()
    for cut in [*cuts, 7, 8, len(whole) - 1]:
        refusal(file_of(tmp_path, whole[:cut], "model.safetensors"))


def header_of(**entry):
    head = str({"LocEnc0.capsule.0.b": entry}).replace("'", '"').encode()
    return len(head).to_bytes(8, "little") + head + bytes(64)


@pytest.mark.parametrize("dtype", ["F4", "F8_E8M0", "F6_E2M3", "C64", "BOOL", "I64", "X9", "F64"])
def test_safetensors_of_odd_types_are_refused(dtype, tmp_path):
    some_bytes = header_of(dtype=dtype, shape=[8], data_offsets=[0, 64])
    refusal(file_of(tmp_path, some_bytes, "model.safetensors"))


def test_a_compressed_file_is_refused(tmp_path):
    path = tmp_path / "bomb.pth"
    with (
        zipfile.ZipFile(io.BytesIO(written(content()))) as old,
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for entry in old.namelist():
            new.writestr(entry, old.read(entry))
    assert "would grow when it is unpacked" in refusal(path)


@contextmanager
def little_effort():
    """Check that a few seconds and 300 MB of new memory were enough."""
    before, start = most_memory(), time.monotonic()
    yield
    assert time.monotonic() - start < 5
    assert most_memory() - before < 300


def most_memory():
    """Most memory that this process has used so far, MB."""
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def spread(*shape):
    return torch.zeros(1).expand(shape)


@pytest.mark.parametrize("zipped", FORMATS)
def test_a_tensor_that_claims_more_than_the_file_holds_is_refused(zipped, tmp_path):
    state = tensors(PARAMS) | {"class_emb.weight": spread(10**6, 10**6)}
    path = file_of(tmp_path, written(content(state=state), zipped))
    with little_effort():
        assert "more than the file holds" in refusal(path)


def test_tensors_that_together_claim_more_than_the_file_holds_are_refused(tmp_path):
    state = {f"more.{number}": spread(80_000) for number in range(3000)}
    path = file_of(tmp_path, written(content(state=tensors(PARAMS) | state)))
    assert path.stat().st_size < 10**6  # and the tensors together claim 960 MB
    with little_effort():
        refusal(path)


def test_parts_that_share_the_same_bytes_of_a_file_are_refused(tmp_path):
    count = 500_000
    state = {f"more.{number}": torch.zeros(1) for number in range(300)}
    state = tensors(PARAMS) | state | {"whole": torch.zeros(count)}
    path = tmp_path / "model.pth"
    with (
        zipfile.ZipFile(io.BytesIO(written(content(state=state)))) as old,
        zipfile.ZipFile(path, "w") as new,
    ):
        for entry in old.namelist():
            part = old.read(entry)
            if entry.endswith("data.pkl"):  # storages of one number claim to be the whole
                claim = b"J" + count.to_bytes(4, "little") + b"t"
                part = part.replace(b"K\x01tq", claim + b"q").replace(b"K\x01tr", claim + b"r")
            new.writestr(entry, part)
        whole = max(new.filelist, key=lambda entry: entry.file_size)
        for entry in new.filelist:
            if "/data/" in entry.filename and entry.file_size == 4:
                entry.header_offset, entry.CRC = whole.header_offset, whole.CRC
                entry.file_size = entry.compress_size = whole.file_size
    assert path.stat().st_size < 3 * 10**6
    with little_effort():
        refusal(path)


def wide(inputs, outputs):
    return {"weight": torch.zeros(outputs, inputs), "bias": torch.zeros(outputs)}


def under(name, tensors):
    return {f"{name}.{part}": tensor for part, tensor in tensors.items()}


SIZE = 25_000
AMPLIFIED = {
    "hidden layers": content(
        state={
            **under("spa_enc.ffn.layers.0.linear", wide(4, SIZE // 4)),
            **under("spa_enc.ffn.layers.1.linear", wide(1, 1)),
            **under("spa_enc.ffn.layers.2.linear", wide(1, 1)),
            **under("spa_enc.ffn.layers.3.linear", wide(1, 1)),
            **under("spa_enc.ffn.layers.4.linear", wide(1, 1)),
            "class_emb.weight": torch.zeros(2, 1),
        }
    ),
    "residual blocks": {
        "state_dict": {
            **under("feats.0", wide(4, SIZE // 2)),
            **under("feats.2.w1", wide(1, 1)),
            **under("feats.2.w2", wide(1, 1)),
            "class_emb.weight": torch.zeros(2, 1),
        },
        "params": {"loc_encode": "encode_cos_sin", "use_date_feats": False},
    },
    "inputs of a linear model": {
        "state_dict": {"class_emb.weight": torch.zeros(1, SIZE)},
        "params": {"input_enc": "sin_cos"},
    },
    "capsules": {
        "LocEnc0.capsule.0.b": torch.ones(2, 2),
        **under("LocEnc0.capsule.1", wide(4, SIZE // 2)),
        **under("LocEnc0.capsule.3", wide(1, 1)),
        **under("LocEnc0.capsule.5", wide(1, 1)),
        **under("LocEnc0.head.0", wide(1, 1)),
    },
} | {
    f"inputs of {name}": {
        "state_dict": under("model.nnet", wide(width, 1)),
        "hyper_parameters": {
            "le_type": name,
            "pe_type": "linear",
            "min_radius": 1,
            "max_radius": 2,
        },
    }
    for name, width in (("sphericalharmonics", 158**2), ("grid", SIZE), ("theory", SIZE // 6 * 6))
}


@pytest.mark.parametrize("kind", AMPLIFIED)
def test_small_files_take_little_memory(kind, tmp_path):
    path = file_of(tmp_path, written(AMPLIFIED[kind]))
    assert path.stat().st_size < 10**6
    with little_effort():
        model_or_refusal(path)


def sharing(depth):
    """A list of two times the same list of two times the same list ..., 2^depth numbers."""
    nested = [1]
    for _ in range(depth):
        nested = [nested, nested]
    return nested


@pytest.mark.parametrize("key", ["note", "map_range", "min_radius", "spa_enc_type"])
def test_settings_that_share_their_parts_are_read_at_once(key, tmp_path):
    # 2^21 is a second or two; a real attack would have 2^60
    params = PARAMS | {"spa_enc_type": "naive", key: sharing(21)}
    path = file_of(tmp_path, written(content(params)))
    start = time.monotonic()
    model_or_refusal(path)
    assert time.monotonic() - start < 1


def itself():
    loop = []
    loop.append(loop)
    return loop


@pytest.mark.parametrize("key", ["note", "map_range", "min_radius"])
def test_settings_that_contain_themselves_give_no_other_error(key, tmp_path):
    path = file_of(tmp_path, written(content(PARAMS | {key: itself()})))
    model_or_refusal(path)


STRANGE = {
    "tensors in a list": content(state=[torch.zeros(3)]),
    "tensors alone": torch.zeros(3),
    "a list": [content()],
    "a number": 3,
    "no tensors": {"state_dict": {}, "params": PARAMS},
    "no tensors, but texts": {"state_dict": {"a": "b"}, "params": PARAMS},
    "whole numbers alone": {"a": torch.zeros(3, dtype=torch.int64)},
    "params in a list": content(params=[1, 2]),
    "params a tensor": content(params=torch.zeros(3)),
    "params nothing": content(params=None),
    "params empty": content(params={}),
    "no params": {"state_dict": tensors(PARAMS)},
    "keys of many lines": content(
        state={"a\nb": torch.zeros(3), "c\nd": torch.zeros(3)}, params={}
    ),
    "a key that is a tensor": {torch.zeros(3, 3): torch.zeros(3)},
}


@pytest.mark.parametrize("zipped", FORMATS)
@pytest.mark.parametrize("kind", STRANGE)
def test_contents_that_are_no_model_are_refused(kind, zipped, tmp_path):
    with little_effort():
        refusal(file_of(tmp_path, written(STRANGE[kind], zipped)))


class Shadowed(dict):
    """Pickles as a dictionary whose own attribute hides a method."""

    def __reduce__(self):
        return OrderedDict, (), {"items": 3, "get": 4}, None, iter(dict.items(self))


def test_a_dictionary_with_hidden_methods_is_read_as_a_plain_one(tmp_path):
    hidden = Shadowed(content(state=Shadowed(tensors(PARAMS))))
    plain = import_checkpoint(file_of(tmp_path, written(content())))
    found = import_checkpoint(file_of(tmp_path, written(hidden)))
    assert torch.equal(found.embed(PLACES), plain.embed(PLACES))


def test_a_model_of_another_kind_is_refused(tmp_path):
    rng = np.random.default_rng(0)
    resnet = {"conv1.weight": drawn(rng, 4, 3, 7, 7), "bn1.running_mean": drawn(rng, 4)}
    resnet |= {"bn1.num_batches_tracked": torch.tensor(3), **linear(rng, "fc", 4, 2)}
    said = (
        "is no checkpoint of CSP, TorchSpatial, Sphere2Vec, SatCLIP, GeoCLIP, SINR or geo_prior; "
        "its tensors are 'bn1.running_mean', 'conv1.weight', 'fc.bias', ..."
    )
    for whole in (resnet, {"state_dict": resnet}, {"state_dict": resnet, "params": {"lr": 0.1}}):
        assert said in refusal(file_of(tmp_path, written(whole)))


def with_one(value):
    def change(weight):
        weight = weight.clone()
        weight[1, 2] = value
        return weight

    return change


ODD = {
    "not a number": with_one(math.nan),
    "infinite": with_one(-math.inf),
    "beyond float32": lambda weight: weight.double() * 1e300,
    "sparse": lambda weight: weight.to_sparse(),
    "sparse rows": lambda weight: weight.to_sparse_csr(),
    "meta": lambda weight: weight.to("meta"),
    "quantised": lambda weight: torch.quantize_per_tensor(weight, 0.1, 0, torch.qint8),
    "nested": lambda weight: torch.nested.nested_tensor([weight[0], weight[1]]),
    "complex": lambda weight: weight.to(torch.complex64),
    "whole": lambda weight: weight.long(),
    "truth": lambda weight: weight > 0,
    "a scalar": lambda weight: weight[0, 0].clone(),
    "empty": lambda weight: weight[:0].clone(),
    "a list": lambda weight: weight.tolist(),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ODD)
def test_tensors_that_are_no_weights_are_refused(kind, tmp_path):
    state = tensors(PARAMS)
    state["class_emb.weight"] = ODD[kind](state["class_emb.weight"])
    with little_effort():
        refusal(file_of(tmp_path, written(content(state=state))))


def test_views_parameters_and_transposed_tensors_are_weights(tmp_path):
    state = tensors(PARAMS)
    expected = import_checkpoint(saved(tmp_path, content(state=state)))(PLACES)
    state = {name: torch.stack([tensor, tensor], -1)[..., 1] for name, tensor in state.items()}
    name = "spa_enc.ffn.layers.0.linear.weight"
    state[name] = state[name].T.contiguous().T
    state["class_emb.weight"] = torch.nn.Parameter(state["class_emb.weight"])
    assert torch.equal(import_checkpoint(saved(tmp_path, content(state=state)))(PLACES), expected)


def damaged(whole, rng):
    some_bytes = bytearray(whole)
    for place in rng.integers(0, len(whole), rng.integers(1, 9)):
        some_bytes[place] = rng.integers(0, 256)
    if rng.random() < 0.2:
        some_bytes = some_bytes[: rng.integers(0, len(whole))]
    return bytes(some_bytes)


def small(zipped):
    """A file of which most is pickle, not weights."""
    rng = np.random.default_rng(0)
    state = feed_forward(rng, [4, 3, 2], norm=True) | {"class_emb.weight": drawn(rng, 2, 2)}
    return written(content(PARAMS | {"rbf_anchor_pt_ids": [np.int64(3)]}, state), zipped)


@pytest.mark.parametrize("zipped", FORMATS)
@pytest.mark.parametrize("pickle_alone", [True, False])
def test_damaged_files_give_a_model_or_one_clear_error(zipped, pickle_alone, tmp_path):
    rng = np.random.default_rng(0)
    whole = small(zipped)
    start, end = 0, len(whole)
    if pickle_alone:
        start, end = whole.index(b"epoch"), whole.rindex(b"num_users")
    path, start_time = tmp_path / "model.pth", time.monotonic()
    for _ in range(60):
        path.write_bytes(whole[:start] + damaged(whole[start:end], rng) + whole[end:])
        model = model_or_refusal(path)
        if not isinstance(model, str):
            assert len(model(PLACES)) == len(PLACES)
    assert time.monotonic() - start_time < 30


def test_threads_may_import_at_the_same_time(tmp_path):
    path = file_of(tmp_path, written(content(params=PARAMS | {"epochs": np.int64(3)})))
    with ThreadPoolExecutor(2) as pool:
        models = list(pool.map(lambda _: import_checkpoint(path), range(40)))
    assert len({float(model.embed(PLACES).sum()) for model in models}) == 1


def test_numpy_numbers_of_either_byte_order_are_read():
    for order, data in (("<", b"\x07\x00\x00\x00"), (">", b"\x00\x00\x00\x07")):
        kind = checkpoints._NumpyType("i4", False, True)
        kind.__setstate__((3, order, None, None, None, -1, -1, 0))
        assert checkpoints._numpy_scalar(kind, data) == 7
