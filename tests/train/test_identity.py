from dataclasses import dataclass, field, fields, replace

import numpy as np
import pytest
import torch
from small_runs import FEATURES, PLACES, SETTINGS, model, run
from torch import nn
from toys import toy_table

from geocsp import Precision
from geocsp.data.cache import FeatureCache
from geocsp.data.images import FileImages
from geocsp.data.samplers import Uniform
from geocsp.images.features import Features
from geocsp.objectives import CspMc, MeanSquaredError
from geocsp.objectives.weighted import WeightedSum
from geocsp.process import ALONE
from geocsp.train.augment import Augmentation
from geocsp.train.feeds import MemoryFeed, NoFeed, feed_of
from geocsp.train.identity import differences, identity_of
from geocsp.train.plan import Plan


def identity(trained=None, objective=None, settings=SETTINGS, seed=0, **data):
    plan = Plan.of(Uniform().fit(PLACES), 300, settings.batch_size, settings.epochs, ALONE, seed)
    given = trained or model(), objective or CspMc()
    return identity_of(*given, settings, plan, {"lonlat": PLACES, "time": None} | data)


def changed(one, other):
    return {name for name in {**one, **other} if one.get(name) != other.get(name)}


def test_what_training_changes_is_not_part_of_it():
    trained, objective = model(), CspMc()
    before = identity(trained, objective)
    run(trained, objective)
    assert identity(trained, objective) == before == identity()


OTHER = {
    "epochs": 5,
    "batch_size": 50,
    "learning_rate": 1e-4,
    "weight_decay": 0.1,
    "warmup": 0.1,
    "cosine": True,
    "decay": 0.9,
    "image_rate": 0.1,
    "micro_batch": 10,
    "precision": "bfloat16",
    "clip_norm": 1.0,
    "ema": 0.9,
    "compile": True,
}


@pytest.mark.parametrize("name", [one.name for one in fields(SETTINGS)])
def test_every_setting_but_compile_is_part_of_it(name):
    other = identity(settings=replace(SETTINGS, **{name: OTHER[name]}))
    assert changed(identity(), other) == (set() if name == "compile" else {f"settings.{name}"})


def test_seed_and_order():
    assert changed(identity(), identity(seed=1)) == {"seed", "rows of the first epoch"}


def test_settings_of_encoder_and_objective():
    slower = identity(objective=CspMc(temperatures=(1.0, 1.0, 2.0)))
    assert changed(identity(), slower) == {"objective (settings)"}
    member = {"name": "csp-mc", "settings": {"mask_km": 1.0}}
    one, two = (
        identity(objective=WeightedSum(members=[member | {"weight": weight}]))
        for weight in (1.0, 2.0)
    )
    assert changed(one, two) == {"objective (settings)"}
    assert "objective.members.csp-mc (settings)" in one
    encoder = changed(identity(), identity(model(dropout=0.1)))
    assert encoder == {
        "model.location (settings)",
        "model.location.network.hidden.0.dropout (settings)",
    }


def test_weights_and_which_are_trained():
    trained = model()
    trained.projection = nn.Linear(7, 8)
    assert changed(identity(), identity(trained)) == {"model.projection.weight"}
    trained = model()
    trained.projection.bias.requires_grad_(False)
    frozen = identity(trained)
    assert changed(identity(), frozen) == {"model.projection.bias"}
    assert frozen["model.projection.bias"] == "(8,) float32"
    decoder = identity(objective=MeanSquaredError(dim=8, feature_dim=6))
    assert decoder["objective.decoder.weight"] == "(6, 8) float32 trained"


def test_places_and_times_are_looked_at_as_a_whole():
    for row in (0, 137, 299):
        moved = PLACES.clone()
        moved[row, 0] += 1e-4
        assert changed(identity(), identity(lonlat=moved)) == {"lonlat"}
        assert changed(identity(time=PLACES), identity(time=moved)) == {"time"}


def test_feeds_are_told_apart():
    feed, other = MemoryFeed(FEATURES), MemoryFeed(FEATURES + 1)
    assert identity(images=feed) == identity(images=MemoryFeed(FEATURES.clone()))
    assert changed(identity(images=feed), identity(images=other)) == {"images"}
    assert changed(identity(images=feed), identity(images=NoFeed(300))) == {
        "images",
        "images.rows",
    }


@dataclass
class Pictures:
    size: int
    tensor: torch.Tensor
    precision: Precision
    change: Augmentation
    files: FileImages
    other: object
    workers: int = field(compare=False, default=3)


def test_fields_are_told_by_what_they_hold_and_not_by_where_it_is():
    files = FileImages(["a.jpg"], folder="somewhere")
    feed = Pictures(
        5, torch.zeros(3, 4, 4), Precision.FLOAT16, Augmentation(smallest=0.9), files, object()
    )
    told = {n: v for n, v in identity(images=feed).items() if n.startswith("images")}
    assert told.pop("images.tensor").startswith("(3, 4, 4) float32 ")
    assert told == {
        "images": "Pictures",
        "images.size": "5",
        "images.precision": repr(Precision.FLOAT16),
        "images.change": repr(Augmentation(smallest=0.9)),
        "images.files": "FileImages",
        "images.other": "object",
    }


def test_features_are_the_same_in_memory_and_on_disk(tmp_path):
    cache = FeatureCache(tmp_path / "cache", 20, 4)
    cache.write(0, torch.arange(80.0).view(20, 4).to(cache.storage.dtype), {})
    cache.describe(encoder="none")
    stored = Features(toy_table(tmp_path, 20), cache, np.arange(20))
    for role in (lambda given: {"images": feed_of(given, 20)}, lambda given: {"validation": given}):
        assert identity(**role(stored)) == identity(**role(stored.read()))
        assert identity(**role(stored)) != identity(**role(stored.read() + 1))


def test_differences_are_told_in_a_line():
    assert differences({"a": "1"}, {"a": "1"}) == ""
    assert differences({"a": "1", "b": "2"}, {"a": "3", "c": "4"}) == (
        "a was 1 and is 3; b was 2 and is None; c was None and is 4"
    )
    many = {str(number): "x" for number in range(5)}
    assert differences(many, {}, most=1) == "0 was x and is None; 4 more"
