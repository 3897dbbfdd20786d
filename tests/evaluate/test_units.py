import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from small_evaluations import OURS, PAPER, SHOTS, Given, ToySource, workspace

from geocsp import GeoModel, GeoPrior
from geocsp.data.table import Categories
from geocsp.errors import DataError
from geocsp.evaluate import Answers, Measure, Regime, units
from geocsp.evaluate.classification import classification_metrics
from geocsp.evaluate.fitting import fuse_all
from geocsp.evaluate.results import read_arrays, run_of
from geocsp.evaluate.units import Unit, evaluate_unit, pretrain_unit, train_heads
from geocsp.fusion import Support
from geocsp.linear_prior import LinearPrior
from geocsp.train.finetune import finetune, train_image_head
from geocsp.train.pretrain import pretrain
from geocsp.train.simclr import ImageProjection

NAMES = ("image", "image-aligned", "simclr", "knn", "sup-grid", "csp-mc-bld", "best")


@pytest.fixture(scope="module")
def benchmark():
    whole = ToySource(views=2).load()
    return replace(whole, tasks={"land": whole.tasks["land"]})


def unit_of(space, name, fold="1", regime=Regime.INDUCTIVE, seed=0):
    return Unit(name, regime if space.row(name).pretrains else Regime.NONE, fold, seed)


def complete(space, *chosen):
    """All work of some units, whose records come back."""
    records = []
    for unit in chosen:
        for task in space.source.load().tasks:
            train_heads(space, task, unit.fold, unit.seed)
        if space.row(unit.row).pretrains:
            pretrain_unit(space, unit.pretraining)
        evaluate_unit(space, unit)
        records += json.loads(space.record_file(unit).read_text())
    return records


@pytest.fixture(scope="module")
def done(benchmark, tmp_path_factory):
    space = workspace(tmp_path_factory.mktemp("units"), NAMES, Given(benchmark))
    units = {name: unit_of(space, name) for name in NAMES}
    return space, {name: complete(space, unit) for name, unit in units.items()}


def answers(space, record, measure):
    run = run_of(json.loads(json.dumps(record["run"])))
    start = f"{run.shot}/{measure}/"
    stored = read_arrays(space.folder / "answers" / run.file, start)
    return Answers(**{k.removeprefix(start): v for k, v in stored.items()}, classes=3)


def state(folder):
    return {
        path: (path.stat().st_mtime_ns, path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_every_unit_leaves_its_files_and_nothing_is_computed_again(done, monkeypatch):
    space, _ = done
    before = state(space.folder)
    for name in ("train_image_head", "pretrain", "pretrain_images", "fit_place", "fuse_all"):
        monkeypatch.setattr(units, name, None)
    for name in NAMES:
        unit = unit_of(space, name)
        assert train_heads(space, "land", "1", 0) == 0
        if space.row(name).pretrains:
            assert pretrain_unit(space, unit.pretraining) == 0
        assert evaluate_unit(space, unit) == 0
        assert space.record_file(unit) in before
    assert state(space.folder) == before
    assert {path.parent.name for path in before if path.suffix == ".npz"} == {
        "heads",
        "answers",
        "subsets",
    }


def test_a_head_that_is_missing_is_trained_again_and_the_others_are_not(benchmark, tmp_path):
    space = workspace(tmp_path, ("image",), Given(benchmark))
    train_heads(space, "land", "1", 0)
    one, other = (space.heads_file("land", "1", 0, shot) for shot in SHOTS)
    kept, gone = one.stat().st_mtime_ns, other.read_bytes()
    other.unlink()
    assert train_heads(space, "land", "1", 0) > 0
    assert one.stat().st_mtime_ns == kept
    with np.load(other) as again:
        other.write_bytes(gone)
        with np.load(other) as first:
            for part in ("validation", "test"):
                assert np.array_equal(again[part], first[part])


def by_hand(benchmark, shot, seed, row):
    """Sup.Only, CSP and their answers as a script would have them."""
    fold, labels = benchmark.folds["1"], benchmark.tasks["land"]
    codes, places = torch.from_numpy(labels.codes), benchmark.places
    train, validation, test, subset = (
        torch.from_numpy(rows)
        for rows in (
            fold.train,
            fold.validation[labels.codes[fold.validation] >= 0],
            fold.test[labels.codes[fold.test] >= 0],
            benchmark.subset("land", "1", shot, seed),
        )
    )
    head = train_image_head(
        benchmark.features[subset],
        codes[subset],
        3,
        penalty=100.0,
        unlabelled=benchmark.features[train],
    )
    placed = torch.from_numpy(benchmark.placed)
    model = None
    if row.pretrains:
        rows = train[placed[train]]
        model = row.preset.build_model(benchmark.features.shape[1], seed)
        model.standardise_by(benchmark.features[rows])
        objective = row.preset.build_objective(seed)
        settings = row.preset.pretrain
        pretrain(model, objective, benchmark.features[rows], places[rows], settings, seed=seed)
    prior = row.preset.build_prior(labels.names, seed, model)
    chosen = subset[placed[subset]]
    finetune(prior, places[chosen], codes[chosen], row.preset.finetune, seed=seed)

    def scores(rows):
        found = torch.zeros(len(rows), 3)
        found[placed[rows]] = prior.class_scores(places[rows[placed[rows]]])
        return found

    parts = (validation, test)
    fused = fuse_all(
        tuple(head.logits(benchmark.features[rows]).log_softmax(1) for rows in parts),
        tuple(scores(rows) for rows in parts),
        tuple(places[rows] for rows in parts),
        codes[validation],
        Support(places[chosen]),
    )
    said = {
        m: Answers.of(logits, codes[test], fused.answered(m)) for m, logits in fused.logits.items()
    }
    return said, test.numpy(), prior


@pytest.mark.parametrize("name", ["sup-grid", "csp-mc-bld"])
def test_answers_are_those_of_a_plain_script(done, benchmark, name):
    space, records = done
    for shot, record in zip(SHOTS, records[name], strict=True):
        said, test, prior = by_hand(benchmark, shot, 0, space.row(name))
        assert record["run"]["measures"] == [str(measure) for measure in said]
        for measure, expected in said.items():
            found = answers(space, record, measure)
            for field, array in expected.arrays().items():
                assert np.array_equal(found.arrays()[field], array), (measure, field)
            assert record["metrics"][measure] == classification_metrics(expected)
        assert record["run"]["parameters"] == sum(p.numel() for p in prior.parameters())
        assert record["run"]["labels"] == len(benchmark.subset("land", "1", shot, 0))
        file = space.folder / "answers" / run_of(json.loads(json.dumps(record["run"]))).file
        assert np.array_equal(read_arrays(file)["rows"], test)


def test_an_image_head_on_an_embedding_sees_that_embedding(done, benchmark):
    space, records = done
    labels = benchmark.tasks["land"]
    fold = benchmark.folds["1"]
    tower = space.tower(unit_of(space, "image-aligned"))
    embedded = {
        "image-aligned": GeoModel.from_pretrained(tower).embed_images(benchmark.features),
        "simclr": ImageProjection.from_pretrained(space.tower(unit_of(space, "simclr"))).embed(
            benchmark.features
        ),
    }
    codes = torch.from_numpy(labels.codes)
    for name, features in embedded.items():
        for shot, record in zip(SHOTS, records[name], strict=True):
            subset = torch.from_numpy(benchmark.subset("land", "1", shot, 0))
            head = train_image_head(
                features[subset],
                codes[subset],
                3,
                penalty=100.0,
                unlabelled=features[torch.from_numpy(fold.train)],
            )
            test = torch.from_numpy(fold.labelled(fold.test, labels))
            expected = Answers.of(head.logits(features[test]).log_softmax(1), codes[test])
            found = answers(space, record, Measure.IMAGE)
            assert np.array_equal(found.truth, expected.truth)
            assert record["run"]["measures"] == ["image"]
            assert record["run"]["parameters"] == 0


def test_rows_on_raw_images_share_one_head_and_rows_of_one_tower_another(done):
    _, records = done
    for shot in (0, 1):
        raw = [
            records[n][shot]["metrics"]["image"] for n in ("image", "knn", "sup-grid", "csp-mc-bld")
        ]
        assert all(found == raw[0] for found in raw)
        aligned = [records[n][shot]["metrics"]["image"] for n in ("image-aligned", "best")]
        assert aligned[0] == aligned[1] != raw[0]


def test_seconds_are_kept_of_each_part(done):
    space, records = done
    for name in NAMES:
        for record in records[name]:
            run = record["run"]
            assert run["seconds"] > 0
            assert (run["pretrain_seconds"] > 0) == space.row(name).pretrains
    tower = space.tower(unit_of(space, "best"))
    spent = json.loads((tower / "seconds.json").read_text())
    assert records["best"][0]["run"]["pretrain_seconds"] == spent
    heads = [float(np.load(space.heads_file("land", "1", 0, shot))["seconds"]) for shot in SHOTS]
    for name in ("image", "knn"):
        for head, record in zip(heads, records[name], strict=True):
            assert record["run"]["seconds"] >= head


def test_the_prior_with_the_most_labels_is_kept_and_loads(done, benchmark):
    space, _ = done
    kept = {path.name for path in (space.folder / "priors").iterdir()}
    assert kept == {
        "land-sup-grid-none-1-0",
        "land-csp-mc-bld-inductive-1-0",
        "land-best-inductive-1-0",
    }
    _, _, expected = by_hand(benchmark, SHOTS[1], 0, space.row("sup-grid"))
    prior = GeoPrior.from_pretrained(space.folder / "priors" / "land-sup-grid-none-1-0")
    for one, other in zip(prior.parameters(), expected.parameters(), strict=True):
        assert torch.equal(one, other)
    best = LinearPrior.from_pretrained(space.folder / "priors" / "land-best-inductive-1-0")
    assert best.class_names == benchmark.tasks["land"].names


def test_priors_are_kept_of_the_first_seed_whatever_the_order_of_shots(benchmark, tmp_path):
    space = workspace(tmp_path, ("sup-grid",), Given(benchmark), shots=SHOTS[::-1], seeds=2)
    complete(space, *(unit_of(space, "sup-grid", seed=seed) for seed in (0, 1)))
    (kept,) = (tmp_path / "priors").iterdir()
    assert kept.name == "land-sup-grid-none-1-0"
    _, _, expected = by_hand(benchmark, SHOTS[1], 0, space.row("sup-grid"))
    prior = GeoPrior.from_pretrained(kept)
    assert torch.equal(prior.class_matrix.weight, expected.class_matrix.weight)


class Spy:
    """What pre-training is given."""

    def __init__(self, monkeypatch):
        self.seen = []
        real, images = units.pretrain, units.pretrain_images

        def places(model, objective, features, lonlat, *arguments, **named):
            self.seen.append((features, lonlat))
            return real(model, objective, features, lonlat, *arguments, **named)

        def alone(views, settings, *, seed, rows):
            self.seen.append((views[0][rows], None))
            return images(views, settings, seed=seed, rows=rows)

        monkeypatch.setattr(units, "pretrain", places)
        monkeypatch.setattr(units, "pretrain_images", alone)


def matches(benchmark, features, rows, views=False):
    """Whether features are those of rows."""
    expected = (benchmark.views[0] if views else benchmark.features)[torch.from_numpy(rows)]
    return features.shape == expected.shape and torch.equal(features, expected)


@pytest.mark.parametrize("name", ["csp-mc-bld", "best", "simclr"])
def test_inductive_pre_training_sees_training_rows_alone(benchmark, tmp_path, monkeypatch, name):
    spy, space = Spy(monkeypatch), workspace(tmp_path, (name,), Given(benchmark))
    for fold in ("1", "2"):
        pretrain_unit(space, unit_of(space, name, fold).pretraining)
        rows = benchmark.folds[fold].train
        if name != "simclr":
            rows = rows[benchmark.placed[rows]]
        features, lonlat = spy.seen.pop()
        assert matches(benchmark, features, rows, views=name == "simclr")
        if lonlat is not None:
            assert torch.equal(lonlat, benchmark.places[torch.from_numpy(rows)])


@pytest.mark.parametrize("name", ["csp-mc-bld", "simclr"])
def test_transductive_pre_training_sees_all_rows_once_for_all_folds(
    benchmark, tmp_path, monkeypatch, name
):
    spy, space = Spy(monkeypatch), workspace(tmp_path, (name,), Given(benchmark))
    towers = set()
    for fold in ("1", "2"):
        unit = unit_of(space, name, fold, Regime.TRANSDUCTIVE)
        towers.add(space.tower(unit))
        pretrain_unit(space, unit.pretraining)
    assert len(towers) == len(spy.seen) == 1
    rows = np.arange(len(benchmark)) if name == "simclr" else np.flatnonzero(benchmark.placed)
    assert matches(benchmark, spy.seen[0][0], rows, views=name == "simclr")
    (record, *_) = complete(space, unit)
    assert record["run"]["regime"] == "transductive"
    assert not (tmp_path / "priors").exists()


def test_a_limit_of_images_draws_that_many_training_rows(benchmark, tmp_path, monkeypatch):
    spy, space = Spy(monkeypatch), workspace(tmp_path, ("csp-mc-bld",), Given(benchmark))
    row = space.row("csp-mc-bld")
    few = [replace(row, name=f"few-{count}", pretrain_images=count) for count in (30, 10**6)]
    space = replace(space, rows=(row, *few))
    for name in ("csp-mc-bld", "few-30", "few-1000000"):
        pretrain_unit(space, unit_of(space, name).pretraining)
    pretrain_unit(space, unit_of(space, "few-30", seed=1).pretraining)
    whole, limited, all_of_them, other = (
        set(map(tuple, lonlat.tolist())) for _, lonlat in spy.seen
    )
    assert len(spy.seen[1][0]) <= 30
    assert limited < whole
    assert len(limited) > 25  # some have no place
    assert all_of_them == whole
    assert other != limited


def altered(benchmark, rows, seed=0):
    """The same data set in which some rows have other labels."""
    labels = benchmark.tasks["land"]
    codes = labels.codes.copy()
    known = rows[codes[rows] >= 0]
    codes[known] = (codes[known] + 1 + np.random.default_rng(seed).integers(0, 2, len(known))) % 3
    return replace(benchmark, tasks={"land": Categories(codes, labels.names)})


@pytest.mark.parametrize("name", ["knn", "sup-grid", "csp-mc-bld", "best"])
def test_no_label_outside_the_subset_and_the_validation_rows_has_a_part(benchmark, tmp_path, name):
    before = workspace(tmp_path / "before", (name,), Given(benchmark))
    first = complete(before, unit_of(before, name))
    fold = benchmark.folds["1"]
    subsets = [benchmark.subset("land", "1", shot, 0) for shot in SHOTS]
    others = np.setdiff1d(np.arange(len(benchmark)), np.r_[(*subsets, fold.validation, fold.test)])
    assert len(others) > 100
    other = altered(benchmark, others)
    after = workspace(tmp_path / "after", (name,), Given(other), subsets=before.folder)
    again = complete(after, unit_of(after, name))
    for one, two in zip(first, again, strict=True):
        assert one["metrics"] == two["metrics"]
        assert one["run"]["fusion"] == two["run"]["fusion"]


@pytest.mark.parametrize("name", ["knn", "sup-grid", "best"])
def test_test_labels_only_judge(benchmark, tmp_path, name):
    before = workspace(tmp_path / "before", (name,), Given(benchmark))
    first = complete(before, unit_of(before, name))
    other = altered(benchmark, benchmark.folds["1"].test)
    after = workspace(tmp_path / "after", (name,), Given(other))
    again = complete(after, unit_of(after, name))
    for one, two in zip(first, again, strict=True):
        assert one["run"]["fusion"] == two["run"]["fusion"]
        assert one["metrics"] != two["metrics"]
        for measure in Measure:
            assert np.array_equal(
                answers(before, one, measure).predicted, answers(after, two, measure).predicted
            )


@pytest.mark.parametrize("name", ["sup-grid", "csp-mc-bld"])
def test_validation_labels_only_calibrate(benchmark, tmp_path, name):
    before = workspace(tmp_path / "before", (name,), Given(benchmark))
    first = complete(before, unit_of(before, name))
    other = altered(benchmark, benchmark.folds["1"].validation)
    after = workspace(tmp_path / "after", (name,), Given(other))
    again = complete(after, unit_of(after, name))
    for one, two in zip(first, again, strict=True):
        assert one["run"]["fusion"] != two["run"]["fusion"]
        for measure in (Measure.IMAGE, Measure.LOCATION, Measure.PRODUCT):
            assert one["metrics"][measure] == two["metrics"][measure]


def test_other_seeds_have_other_subsets_and_weights(benchmark, tmp_path):
    space = workspace(tmp_path, ("sup-grid",), Given(benchmark), seeds=2)
    records = complete(space, *(unit_of(space, "sup-grid", seed=seed) for seed in (0, 1)))
    assert records[0]["metrics"] != records[2]["metrics"]
    subsets = [read_arrays(space.subsets_file("land", "1", seed)) for seed in (0, 1)]
    assert not np.array_equal(subsets[0]["20 %"], subsets[1]["20 %"])


def test_kilometres_go_to_the_nearest_labelled_place(done, benchmark):
    from geocsp.coords import great_circle_km

    space, records = done
    for shot, record in zip(SHOTS, records["sup-grid"], strict=True):
        run = run_of(json.loads(json.dumps(record["run"])))
        stored = read_arrays(space.folder / "answers" / run.file)
        subset = benchmark.subset("land", "1", shot, 0)
        labelled = torch.from_numpy(benchmark.lonlat[subset[benchmark.placed[subset]]])
        for row, km in zip(stored["rows"], stored[f"{shot.label}/km"], strict=True):
            place = torch.from_numpy(benchmark.lonlat[row : row + 1])
            if not benchmark.placed[row]:
                assert np.isnan(km)
            else:
                nearest = float(great_circle_km(labelled, place).min())
                assert km == pytest.approx(nearest, rel=1e-4, abs=0.1)


def test_a_subset_without_any_place_is_refused_by_name(benchmark, tmp_path):
    subset = benchmark.subset("land", "1", SHOTS[0], 0)
    lonlat = benchmark.lonlat.copy()
    lonlat[subset] = np.nan
    space = workspace(tmp_path, ("image",), Given(replace(benchmark, lonlat=lonlat)))
    with pytest.raises(
        DataError, match="none of the 9 labelled rows of land, fold 1, seed 0, 3 per"
    ):
        train_heads(space, "land", "1", 0)


def test_samplers_without_labels_choose_what_an_epoch_shows(benchmark, tmp_path, monkeypatch):
    from geocsp.presets import Component

    given = []
    real = units.pretrain

    def spy(*arguments, sampler, **named):
        given.append(sampler)
        return real(*arguments, sampler=sampler, **named)

    monkeypatch.setattr(units, "pretrain", spy)
    space = workspace(tmp_path, ("best",), Given(benchmark))
    row = space.row("best")
    own = replace(row, name="own", preset=replace(OURS, sampler=Component("uniform", {"seed": 3})))
    space = replace(space, rows=(row, own))
    for name in ("best", "own"):
        pretrain_unit(space, unit_of(space, name).pretraining)
    assert given[0] is None
    assert given[1].seed == 3
    assert given[1].rows == int(benchmark.placed[benchmark.folds["1"].train].sum())


def test_an_objective_gets_the_sizes_it_leaves_out(benchmark, tmp_path):
    from geocsp.presets import Component

    space = workspace(tmp_path, ("mse",), Given(benchmark))
    bare = replace(space.row("mse"), name="bare", preset=replace(PAPER, objective=Component("mse")))
    space = replace(space, rows=(space.row("mse"), bare))
    models = []
    for name in ("mse", "bare"):
        unit = unit_of(space, name).pretraining
        pretrain_unit(space, unit)
        models.append(GeoModel.from_pretrained(space.tower(unit)).state_dict())
    for name, weights in models[0].items():
        assert torch.equal(weights, models[1][name])
