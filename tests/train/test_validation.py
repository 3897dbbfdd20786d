import math
from dataclasses import replace

import numpy as np
import pytest
import torch

import geocsp
from geocsp import GeoModel, PretrainSettings, pretrain
from geocsp.coords import great_circle_km, pairwise_within_km, sample_sphere, unit_vectors
from geocsp.data.splitters import Buffered, GroupFolds, SpatialBlocks
from geocsp.errors import DataError
from geocsp.evaluate.retrieval import retrieve
from geocsp.objectives import Clip, MeanSquaredError
from geocsp.process import ALONE, Process
from geocsp.train.checkpoint import Checkpoints
from geocsp.train.state import Progress, TrainingState, averaged
from geocsp.train.validation import Metric, Validation, hold_out
from geocsp.train.watching import Watcher

PLACES = sample_sphere(400, torch.Generator().manual_seed(0))
FEATURES = unit_vectors(PLACES) @ torch.randn(3, 6, generator=torch.Generator().manual_seed(1))
TRAIN, HELD = hold_out(PLACES, share=0.2, blocks=10.0)
SETTINGS = PretrainSettings(epochs=8, batch_size=50, learning_rate=5e-3)


def model(**settings):
    torch.manual_seed(0)
    settings = {"dim": 8, "frequencies": 4, "min_radius": 100.0, "hidden": 32} | settings
    return GeoModel(geocsp.create("location", "space2vec-grid", **settings), feature_dim=6)


def validation(**settings):
    return Validation(FEATURES[HELD], PLACES[HELD], **settings)


def train(trained, held, settings=SETTINGS, **more):
    rows = torch.from_numpy(TRAIN)
    return pretrain(
        trained, Clip(), FEATURES[rows], PLACES[rows], settings, seed=0, validation=held, **more
    )


def state_of(trained, decay=None):
    optimizer = torch.optim.AdamW(trained.parameters())
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    objective = Clip()
    return TrainingState(trained, objective, optimizer, scaler, averaged(trained, objective, decay))


class Script(Validation):
    """A validation that measures what it is told to."""

    def script(self, *values):
        self.values = list(values)
        return self

    def measure(self, model):
        return {self.metric.value: self.values.pop(0)}


def test_it_measures_how_images_find_their_places():
    trained = model().eval()
    with torch.no_grad():
        images, places = trained.encode_image(FEATURES[HELD]), trained.encode_location(PLACES[HELD])
    there = retrieve(images, PLACES[HELD], places, PLACES[HELD]).metrics()
    back = retrieve(places, PLACES[HELD], images, PLACES[HELD]).metrics()
    assert validation().measure(trained) == pytest.approx(there)
    expected = there | {f"image.{name}": value for name, value in back.items()}
    assert validation(both_ways=True).measure(trained) == pytest.approx(expected)
    assert validation(both_ways=True, batch=7).measure(trained) == pytest.approx(expected)


def test_a_place_with_many_images_counts_once():
    trained, crowd = model(), torch.tensor([0] * 50 + list(range(1, 20)))
    lonlat = PLACES[:20][crowd]
    found = Validation(FEATURES[crowd], lonlat).measure(trained)
    with torch.no_grad():
        trained.eval()
        images, places = trained.encode_image(FEATURES[crowd]), trained.encode_location(PLACES[:20])
    assert found == pytest.approx(retrieve(images, lonlat, places, PLACES[:20]).metrics())


def test_further_places_are_looked_among_but_own_ones_not_twice():
    trained, gallery = model(), torch.cat([PLACES[HELD][:5], PLACES[TRAIN]]).double()
    found = validation(gallery=gallery, both_ways=True).measure(trained)
    both = torch.cat([PLACES[HELD], PLACES[TRAIN]])
    with torch.no_grad():
        trained.eval()
        images, places = trained.encode_image(FEATURES[HELD]), trained.encode_location(both)
    expected = retrieve(images, PLACES[HELD], places, both).metrics()
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    alone = validation(both_ways=True).measure(trained)
    assert found["image.R@5"] == alone["image.R@5"]  # places without images look for nothing


def test_a_place_is_right_at_the_time_of_any_of_its_images():
    trained = model(date_harmonics=1)
    lonlat = PLACES[:30].repeat(2, 1)
    time = torch.full((60, 2), math.nan)
    time[:30, 0], time[30:, 0] = 0.1, 0.6
    time[45:] = time[15:30]  # the latter half of the places is seen twice at one time
    held = Validation(FEATURES[:30].repeat(2, 1), lonlat, time)
    keys = torch.arange(45)
    with torch.no_grad():
        trained.eval()
        images = trained.encode_image(FEATURES[:30].repeat(2, 1))
        places = trained.encode_location(lonlat[keys], time[keys])
    assert held.measure(trained) == pytest.approx(
        retrieve(images, lonlat, places, lonlat[keys]).metrics()
    )


def test_measuring_leaves_random_state_and_training_mode_alone():
    trained = model(dropout=0.5).train()
    trained.location.network.eval()
    modes = [part.training for part in trained.modules()]
    before = torch.get_rng_state()
    first = validation().measure(trained)
    assert torch.equal(torch.get_rng_state(), before)
    assert [part.training for part in trained.modules()] == modes
    assert validation().measure(trained) == first  # no dropout
    assert all(p.grad is None for p in trained.parameters())


def test_the_best_value_and_how_long_ago_it_was():
    state = state_of(model())
    held = Script(FEATURES[HELD], PLACES[HELD], patience=2, metric=Metric.MEDIAN_RANK)
    held.script(5.0, 6.0, 4.0, 4.0, 4.5)
    seen = []
    for _ in range(5):
        measured = held.judge(state, ALONE)
        state.progress.history.append(measured)
        seen.append((measured["validation.median_rank"], state.progress.best))
        seen[-1] += (state.progress.waited, held.stops(state.progress))
        with torch.no_grad():
            state.model.projection.bias += 1
    assert seen == [
        (5.0, 5.0, 0, False),
        (6.0, 5.0, 1, False),
        (4.0, 4.0, 0, False),
        (4.0, 4.0, 1, False),  # as good is not better
        (4.5, 4.0, 2, True),
    ]
    state.finish()
    assert torch.equal(state.model.projection.bias, model().projection.bias + 1 + 1)


def test_higher_recalls_are_better_and_lower_ranks_and_errors():
    for metric in Metric:
        higher = metric in (Metric.RECALL_AT_1, Metric.RECALL_AT_5, Metric.RECALL_AT_10)
        assert metric.better(2.0, 1.0) == higher
        assert metric.better(1.0, 2.0) != higher
        assert not metric.better(1.0, 1.0)
        assert metric.value in validation().measure(model())


def test_without_patience_no_weights_are_kept_and_nothing_stops():
    state = state_of(model())
    held = Script(FEATURES[HELD], PLACES[HELD]).script(5.0, 6.0, 7.0)
    for _ in range(3):
        held.judge(state, ALONE)
    assert (state.progress.best, state.progress.waited) == (5.0, 2)
    assert state.best == {}
    assert not held.stops(state.progress)


def test_only_each_so_many_th_epoch_is_judged():
    state = state_of(model())
    held = validation(every=3)
    due = []
    for _ in range(7):
        due.append(bool(held.judge(state, ALONE)))
        state.progress.history.append({})
    assert due == [False, False, True, False, False, True, False]


def test_the_average_of_the_weights_is_judged_and_kept():
    state = state_of(model(), decay=0.5)
    state.update_average()
    state.progress.step = 1
    with torch.no_grad():
        state.model.projection.weight.neg_()
    expected = validation().measure(model())
    measured = validation(patience=1).judge(state, ALONE)
    assert measured == {f"validation.{name}": value for name, value in expected.items()}
    assert torch.equal(state.best["model.projection.weight"], model().projection.weight)


class Second(Process):
    """The second of two processes, which gets what the first one has."""

    def share(self, value):
        assert value is None
        return validation().measure(model())


def test_another_process_takes_what_the_first_one_measured():
    state, held = state_of(model()), validation(patience=1)
    held.measure = None  # is not called
    measured = held.judge(state, Second(rank=1, world=2))
    assert measured == validation(patience=1).judge(state_of(model()), ALONE)
    assert state.progress.best == measured["validation.median_km"]
    names = {f"model.{name}" for name in state.model.state_dict()}
    assert state.best.keys() >= names


def test_what_cannot_be_validated_is_refused():
    with pytest.raises(ValueError, match="must be at least 1, got 0, None and 1024"):
        validation(every=0)
    with pytest.raises(ValueError, match="must be at least 1, got 1, 0 and 1024"):
        validation(patience=0)
    with pytest.raises(ValueError, match="'accuracy' is not a valid Metric"):
        validation(metric="accuracy")
    with pytest.raises(DataError, match="validation has 9 images and 10 places"):
        Validation(FEATURES[:9], PLACES[:10])
    with pytest.raises(DataError, match="at least 2 different places"):
        Validation(FEATURES[:9], PLACES[:1].expand(9, 2))
    with pytest.raises(ValueError, match="lonlat of validation row 0 is"):
        Validation(FEATURES[:9], PLACES[:9] + 400)
    with pytest.raises(ValueError, match="gallery row 1 is"):
        validation(gallery=torch.tensor([[0.0, 0.0], [0.0, 91.0]]))
    with pytest.raises(DataError, match="find their places, which MeanSquaredError does not train"):
        validation().check(model(), MeanSquaredError(dim=8, feature_dim=6))
    with pytest.raises(ValueError, match="takes no time"):
        validation(time=torch.zeros(len(HELD), 2)).check(model(), Clip())
    broken = model()
    with torch.no_grad():
        broken.projection.bias[0] = math.nan
    with pytest.raises(DataError, match="held-out image embeddings of row 0 are not finite"):
        validation().measure(broken)


def test_held_out_blocks_are_apart():
    places = sample_sphere(4000, torch.Generator().manual_seed(3))
    rows, held = hold_out(places, share=0.25, blocks=10.0, seed=4)
    assert len(np.intersect1d(rows, held)) == 0
    assert len(rows) / 4000 == pytest.approx(0.75, abs=0.01)
    blocks = SpatialBlocks(degrees=10.0, folds=4096, seed=4).fold_of(places)
    assert len(np.intersect1d(blocks[rows], blocks[held])) == 0
    assert not pairwise_within_km(places[held], places[rows], 111.0).any()
    assert 0.1 < len(held) / 4000 < 0.25
    dropped = np.setdiff1d(np.arange(4000), np.concatenate([rows, held]))
    assert pairwise_within_km(places[dropped], places[rows], 112.0).any(1).all()


def test_the_seed_decides_what_is_held_out():
    first, again, other = (hold_out(PLACES, blocks=10.0, seed=seed)[1] for seed in (0, 0, 1))
    assert first.tolist() == again.tolist()
    assert first.tolist() != other.tolist()


def test_the_first_folds_of_a_splitter_are_held_out():
    splitter = SpatialBlocks(degrees=20.0, folds=5)
    rows, held = hold_out(PLACES, share=0.4, blocks=splitter)
    fold = splitter.fold_of(PLACES)
    assert held.tolist() == np.flatnonzero(fold <= 1).tolist()  # no buffer but the splitter's own
    assert rows.tolist() == np.flatnonzero(fold > 1).tolist()
    _, apart = hold_out(PLACES, share=0.4, blocks=Buffered(splitter, km=300.0))
    assert not pairwise_within_km(PLACES[apart], PLACES[rows], 300.0).any()


def test_what_cannot_be_held_out_is_refused():
    with pytest.raises(ValueError, match="must be between 0 and 1, got 1"):
        hold_out(PLACES, share=1)
    near = torch.rand(50, 2)
    with pytest.raises(DataError, match="puts all 50 images into one fold"):
        hold_out(near)
    with pytest.raises(DataError, match="are too near to a training image"):
        hold_out(near, blocks=Buffered(SpatialBlocks(degrees=0.1), km=500.0))
    with pytest.raises(DataError, match="groups"):
        hold_out(PLACES, blocks=GroupFolds())


def test_images_find_places_where_no_image_was_trained_on():
    history = train(trained := model(), validation(), replace(SETTINGS, epochs=30))
    first, last = history[0], history[-1]
    assert last["loss"] < first["loss"]
    chance = float(great_circle_km(PLACES, PLACES.flip(0)).median())
    assert last["validation.median_km"] < 2000 < chance
    assert last["validation.median_rank"] < first["validation.median_rank"]
    assert validation().measure(trained)["median_km"] == last["validation.median_km"]


def judged(history):
    return [epoch["validation.median_km"] for epoch in history]


def test_it_stops_when_nothing_gets_better_and_ends_with_the_best_weights():
    settings = replace(SETTINGS, epochs=100, learning_rate=2e-2)
    history = train(trained := model(), validation(patience=3), settings)
    values = judged(history)
    best = min(range(len(values)), key=values.__getitem__)
    assert 3 < len(values) < 100
    assert best == len(values) - 4
    assert validation().measure(trained)["median_km"] == values[best]


def test_validation_does_not_change_what_is_learned():
    train(one := model(dropout=0.5), None)
    train(other := model(dropout=0.5), validation(every=2, both_ways=True))
    assert all(map(torch.equal, one.state_dict().values(), other.state_dict().values()))


class Stop(Watcher):
    def __init__(self, step):
        self._step = step

    def on_step(self, report):
        if report.step == self._step:
            raise KeyboardInterrupt


@pytest.mark.parametrize("ema", [None, 0.9])
@pytest.mark.parametrize("stop", [13, 40])
def test_an_interrupted_run_stops_at_the_same_epoch_with_the_same_weights(tmp_path, stop, ema):
    settings = replace(SETTINGS, epochs=40, learning_rate=2e-2, ema=ema)
    expected = train(whole := model(), validation(patience=2), settings)
    assert 40 < len(expected) * (len(TRAIN) // 50) < 240
    saved = Checkpoints(tmp_path, every=5)
    with pytest.raises(KeyboardInterrupt):
        train(model(), validation(patience=2), settings, checkpoints=saved, watchers=[Stop(stop)])
    for _ in range(2):  # goes on, and then finds itself finished
        again = model()
        saved = Checkpoints(tmp_path, every=5)
        assert train(again, validation(patience=2), settings, checkpoints=saved) == expected
        weights = whole.state_dict()
        assert all(torch.equal(weights[name], w) for name, w in again.state_dict().items())


def test_progress_is_all_that_a_validation_needs():
    assert not validation(patience=1).stops(Progress())
    assert validation(patience=1).stops(Progress(best=1.0, waited=1))
