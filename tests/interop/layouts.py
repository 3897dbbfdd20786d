"""Small files in the layouts of other projects, and what their networks compute, plainly."""

import math
from itertools import pairwise

import numpy as np
import torch

from geocsp import import_checkpoint
from geocsp.coords import sample_sphere
from geocsp.errors import DataError
from geocsp.location import LocationEncoder
from geocsp.model import GeoPrior

EDGES = [[-180, -90], [180, 90], [37, 90], [-180, 12.5], [180, 12.5], [0, 0], [-99.5, 41.25]]
PLACES = torch.cat([sample_sphere(9, torch.Generator().manual_seed(0)), torch.tensor(EDGES)])
PLACES = PLACES.double()

ACTIVATIONS = {
    "relu": lambda x: max(x, 0.0),
    "leakyrelu": lambda x: x if x > 0 else 0.2 * x,
    "gelu": lambda x: x * (1 + math.erf(x / math.sqrt(2))) / 2,
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "tanh": math.tanh,
}
ACTIVATIONS = {name: np.vectorize(function) for name, function in ACTIVATIONS.items()}


def drawn(rng, *shape, size=1.0):
    return torch.from_numpy(rng.normal(0, size, shape)).float()


def linear(rng, name, inputs, outputs):
    return {
        f"{name}.weight": drawn(rng, outputs, inputs, size=1 / math.sqrt(inputs)),
        f"{name}.bias": drawn(rng, outputs, size=0.3),
    }


def feed_forward(rng, widths, norm, prefix="spa_enc.ffn.layers."):
    state = {}
    for number, (inputs, outputs) in enumerate(pairwise(widths)):
        if norm and number < len(widths) - 2:
            state[f"{prefix}{number}.layernorm.weight"] = 1 + drawn(rng, outputs, size=0.3)
            state[f"{prefix}{number}.layernorm.bias"] = drawn(rng, outputs, size=0.3)
        state |= linear(rng, f"{prefix}{number}.linear", inputs, outputs)
    return state


def residual(rng, inputs, width, blocks=4, prefix=""):
    state = linear(rng, f"{prefix}feats.0", inputs, width)
    for number in range(2, 2 + blocks):
        for part in ("w1", "w2"):
            state |= linear(rng, f"{prefix}feats.{number}.{part}", width, width)
    return state


def affine(state, name, x):
    weight, bias = (state[f"{name}.{part}"].double().numpy() for part in ("weight", "bias"))
    return x @ weight.T + bias


def through_feed_forward(state, x, params, prefix="spa_enc.ffn.layers."):
    activation = ACTIVATIONS[params["spa_f_act"]]
    last = sum(name.startswith(prefix) and name.endswith("linear.bias") for name in state) - 1
    for number in range(last):
        y = activation(affine(state, f"{prefix}{number}.linear", x))
        if params["skip_connection"] and y.shape == x.shape:
            y = y + x
        if params["use_layn"]:
            weight, bias = (
                state[f"{prefix}{number}.layernorm.{part}"].double().numpy()
                for part in ("weight", "bias")
            )
            centred = y - y.mean(1, keepdims=True)
            y = centred / np.sqrt((centred**2).mean(1, keepdims=True) + 1e-5) * weight + bias
        x = y
    return activation(affine(state, f"{prefix}{last}.linear", x))


def through_residual(state, x, prefix=""):
    x = np.maximum(affine(state, f"{prefix}feats.0", x), 0)
    number = 2
    while f"{prefix}feats.{number}.w1.weight" in state:
        inner = np.maximum(affine(state, f"{prefix}feats.{number}.w1", x), 0)
        x = x + np.maximum(affine(state, f"{prefix}feats.{number}.w2", inner), 0)
        number += 1
    return x


def saved(folder, content, name="model.pth.tar", **how):
    torch.save(content, folder / name, **how)
    return folder / name


def agree(model, embedding, classes=None, time=None):
    """Check embeddings and, with a class matrix, probabilities, to 1e-5."""
    embedding = torch.from_numpy(np.asarray(embedding))
    given = model.embed(PLACES, time).double()
    torch.testing.assert_close(given, embedding, atol=1e-5, rtol=1e-5)
    assert isinstance(model, GeoPrior) == (classes is not None)
    assert not any(module.training for module in model.modules())
    if classes is None:
        return
    probabilities = 1 / (1 + (-embedding @ classes.double().T).exp())
    given = model.class_probabilities(PLACES, time).double()
    torch.testing.assert_close(given, probabilities, atol=1e-5, rtol=0)


def model_or_refusal(path, **given):
    """The imported model, or the message of the one error: one line that names the file."""
    try:
        return import_checkpoint(path, **given)
    except DataError as error:
        message = str(error)
    assert message.startswith((str(path), f"cannot read {path}"))
    assert "\n" not in message
    assert len(message) < 2000
    return message


def refusal(path, **given):
    """The message of the one error that importing this must give."""
    message = model_or_refusal(path, **given)
    assert isinstance(message, str), "it was imported"
    return message


def unchanged_by_saving(model, folder, time=None):
    """Check that a folder of ours gives back the very same numbers."""
    kind = GeoPrior if isinstance(model, GeoPrior) else LocationEncoder
    again = kind.from_pretrained(model.save_pretrained(folder))
    assert torch.equal(again(PLACES, time), model(PLACES, time))
    if kind is GeoPrior:
        assert again.class_names == model.class_names
