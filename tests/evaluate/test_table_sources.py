import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import published_miniature as miniature
import pytest
import torch
from rich.console import Console
from small_evaluations import PAPER, in_this_process
from tiny_photos import photos

from geocsp.data.read import read
from geocsp.errors import DataError
from geocsp.evaluate import Measure, Shot, Ties, run
from geocsp.evaluate.rows import rows_named
from geocsp.evaluate.settings import EvaluateSettings
from geocsp.evaluate.sources import Division, FeaturesSource, PublishedSource
from geocsp.evaluate.sources.tables import has_published
from geocsp.images import EfficientNetLite0
from geocsp.images.features import compute_features

SHOTS = (Shot(ratio=0.2), Shot(ratio=0.4), Shot(ratio=1.0), Shot(per_class=3))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return miniature.make(tmp_path_factory.mktemp("published") / "inat2018")


@pytest.fixture(scope="module")
def source(root):
    return PublishedSource("inat2018", root, SHOTS)


@pytest.fixture(scope="module")
def benchmark(source):
    return source.load()


@pytest.fixture(scope="module")
def results(source, tmp_path_factory):
    rows = rows_named(("image", "sup-grid"), PAPER, 8)
    settings = EvaluateSettings(rows=("image", "sup-grid"), shots=SHOTS, seeds=1, draws=200)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "worker_pool", in_this_process)
        folder = tmp_path_factory.mktemp("runs")
        return run.evaluate(source, rows, settings, folder, console=Console(quiet=True))


def of(results, row, shot):
    (found,) = [r for r in results.runs if (r.row, r.shot) == (row, shot.label)]
    return found


def test_published_features_are_those_of_the_rows(benchmark):
    assert len(benchmark) == miniature.TRAIN + miniature.VALIDATION
    expected = np.concatenate([miniature.features("train"), miniature.features("val")])
    assert np.array_equal(benchmark.features.numpy(), expected)
    lonlat = np.concatenate([miniature.places("train"), miniature.places("val")])
    np.testing.assert_array_equal(benchmark.lonlat, lonlat)
    labels = benchmark.tasks["label"]
    truth = np.concatenate([miniature.truth("train"), miniature.truth("val")])
    assert np.array_equal(labels.codes, truth)
    assert len(labels.names) == miniature.CLASSES


def test_the_validation_split_is_tested_but_for_a_random_part_that_calibrates(benchmark, root):
    (fold,) = benchmark.folds.values()
    tested = np.arange(miniature.TRAIN, len(benchmark))
    assert np.array_equal(np.sort(np.r_[fold.validation, fold.test]), tested)
    assert 3 < len(fold.validation) < 30
    placed = np.setdiff1d(np.arange(miniature.TRAIN), miniature.UNPLACED["train"])
    assert np.array_equal(fold.train, placed)
    other = replace(PublishedSource("inat2018", root, SHOTS), seed=1).load()
    assert not np.array_equal(other.folds["published"].test, fold.test)


def test_published_subsets_and_predictions_are_found_by_their_share(benchmark):
    assert sorted(benchmark.published) == ["100 %", "20 %"]
    whole, few = benchmark.published["100 %"], benchmark.published["20 %"]
    for found, seed in ((whole, 0), (few, 1)):
        dense = found.probabilities.toarray()
        assert found.probabilities.dtype == np.float32
        assert not dense[: miniature.TRAIN].any()
        assert np.array_equal(dense[miniature.TRAIN :], miniature.probabilities(seed))
    assert whole.subset is None
    trained = np.setdiff1d(np.arange(miniature.TRAIN), miniature.UNPLACED["train"])
    assert np.array_equal(few.subset, trained[miniature.SAMPLE])


def test_a_share_that_is_published_only_nearly_is_not_taken_for_it(root):
    near = replace(PublishedSource("inat2018", root, (Shot(ratio=0.2004),)))
    assert near.load().published == {}


def test_published_files_are_seen_beside_a_data_set(root):
    name = f"inat2018:{root}"
    table = read(name, keep_unplaced=True)
    assert has_published(name, table)
    assert not has_published("inat2018:/nowhere", table)


def test_the_image_alone_answers_as_published_with_its_zeros(results, benchmark):
    for shot in SHOTS:
        here = of(results, "image", shot)
        rows = results.test_rows(here)
        said = results.answers(here, Measure.IMAGE)
        published = benchmark.published.get(shot.label)
        same = results.answers(of(results, "sup-grid", shot), Measure.IMAGE)
        assert np.array_equal(same.truth, said.truth)
        if published is None:
            continue
        likely = published.probabilities.toarray()[rows].astype(np.float64)
        for n, row in enumerate(rows):
            truth = benchmark.tasks["label"].codes[row]
            above = int((likely[n] > likely[n, truth]).sum())
            level = int((likely[n] == likely[n, truth]).sum()) - 1
            assert (said.above[n], said.level[n]) == (above, level)
            expected = likely[n, truth] / likely[n].sum() if likely[n].any() else 1 / 6
            assert said.truth[n] == pytest.approx(expected, abs=1e-6)
        assert ((said.truth == 0) & (said.level > 0)).any()


@pytest.mark.parametrize("shot", [SHOTS[0], SHOTS[2]])
def test_the_product_is_that_of_csp(results, benchmark, shot):
    """Probabilities times sigmoids; the image alone without a place; ties to higher classes."""
    here = of(results, "sup-grid", shot)
    rows, labels = results.test_rows(here), benchmark.tasks["label"].codes
    likely = benchmark.published[shot.label].probabilities.toarray()[rows].astype(np.float64)
    prior = refitted(benchmark, results.subset(here))
    product, placed = likely.copy(), np.isfinite(benchmark.lonlat[rows]).all(axis=1)
    assert (~placed).any()
    scores = prior.class_scores(benchmark.places[rows[placed]]).double().numpy()
    product[placed] *= 1 / (1 + np.exp(-scores))
    said = results.answers(here, Measure.PRODUCT)
    ranks = said.rank(Ties.LEGACY)
    zeros = 0
    for n, row in enumerate(rows):
        own = product[n, labels[row]]
        if not likely[n].any():  # nothing is said of the image, so the place alone answers
            continue
        higher = [c for c in range(6) if product[n, c] == own and c > labels[row]]
        assert ranks[n] == 1 + (product[n] > own).sum() + len(higher)
        zeros += own == 0 and bool(higher)
    assert zeros > 3


def refitted(benchmark, subset):
    """The prior of Sup.Only (grid) by hand."""
    from geocsp.train.finetune import finetune

    labels = benchmark.tasks["label"]
    prior = replace(PAPER, objective=None).build_prior(labels.names, 0)
    rows = torch.from_numpy(subset)
    finetune(
        prior, benchmark.places[rows], torch.from_numpy(labels.codes)[rows], PAPER.finetune, seed=0
    )
    return prior


def test_the_published_subset_is_trained_on(results, benchmark):
    few = benchmark.published["20 %"].subset
    assert np.array_equal(results.subset(of(results, "sup-grid", SHOTS[0])), few)
    assert of(results, "sup-grid", SHOTS[0]).labels == len(few)
    assert of(results, "sup-grid", SHOTS[2]).labels == len(benchmark.folds["published"].train)


def test_a_row_without_a_place_keeps_the_images_answer(results, benchmark):
    for shot in SHOTS:
        here = of(results, "sup-grid", shot)
        nowhere = np.isnan(benchmark.lonlat[results.test_rows(here)]).any(axis=1)
        assert 0 < nowhere.sum() < 5
        image = results.answers(here, Measure.IMAGE).rows(nowhere)
        for measure in (Measure.PRODUCT, Measure.FUSED, Measure.GUARDED):
            said = results.answers(here, measure).rows(nowhere)
            for name, array in image.arrays().items():
                assert np.array_equal(said.arrays()[name], array)
        place = results.answers(here, Measure.LOCATION)
        assert (place.predicted[nowhere] == -1).all()
        assert (place.hits(1)[nowhere] == 0).all()
        assert (place.predicted[~nowhere] >= 0).all()
        assert np.isnan(results.km(here)[nowhere]).all()
        assert np.isfinite(results.km(here)[~nowhere]).all()


def test_all_numbers_of_published_predictions_with_zeros_are_finite(results):
    for cell in results.facts["table"]:
        for measure in Measure:
            for value in cell.get(measure, {}).values():
                assert math.isfinite(value["mean"])
    cell = next(c for c in results.facts["table"] if (c["row"], c["shot"]) == ("sup-grid", "20 %"))
    assert cell["image"]["nll"]["mean"] > 10  # where a zero was right
    assert cell["fused"]["nll"]["mean"] < cell["image"]["nll"]["mean"]


def test_a_missing_file_is_named(tmp_path):
    root = miniature.make(tmp_path / "inat2018")
    (root / "features_inception_pretrain/inat2018_val_pretrain_net_feats.npy").unlink()
    with pytest.raises(DataError, match="inat2018_val_pretrain_net_feats"):
        PublishedSource("inat2018", root, SHOTS).load()


@pytest.fixture(scope="module")
def features_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    table = read(str(photos(folder / "pictures")))
    (folder / "pictures" / "5.png").write_bytes(b"no picture")
    compute_features(EfficientNetLite0(pixels=32), table, folder / "features")
    return folder / "features"


def test_features_that_were_written_are_a_benchmark(features_folder):
    benchmark = FeaturesSource(features_folder).load()
    assert benchmark.name == f"{features_folder.parent.name}/features"
    assert len(benchmark) == 39  # one picture could not be read
    assert benchmark.features.shape == (39, EfficientNetLite0.dim)
    (task,) = benchmark.tasks.values()
    assert task.names == ("c0", "c1", "c2")
    kept = [n for n in range(40) if n != 5]
    assert task.codes.tolist() == [n % 3 for n in kept]
    fold = benchmark.folds["published"]
    parts = [("train", "train", "val", "test")[n // 3 % 4] for n in kept]
    assert [parts[row] for row in fold.test] == ["test"] * parts.count("test")
    assert [parts[row] for row in fold.validation] == ["val"] * parts.count("val")
    assert len(fold.train) == parts.count("train")
    assert FeaturesSource(features_folder).load() is benchmark


def test_features_in_the_folder_one_is_in_have_its_name(features_folder, monkeypatch):
    monkeypatch.chdir(features_folder)
    assert FeaturesSource(Path()).load().name == f"{features_folder.parent.name}/features"


def test_the_division_is_another_benchmark_of_the_same_rows(features_folder):
    own = FeaturesSource(features_folder).load()
    blocks = FeaturesSource(features_folder, Division(folds=3, blocks=20.0)).load()
    assert list(blocks.folds) == ["0", "1", "2"]
    assert blocks.fingerprint == own.fingerprint


def test_other_features_have_another_fingerprint(features_folder, tmp_path):
    table = read(str(features_folder.parent / "pictures" / "photos.csv"))
    compute_features(EfficientNetLite0(pixels=48), table, tmp_path / "features")
    found = FeaturesSource(tmp_path / "features").load()
    assert found.fingerprint != FeaturesSource(features_folder).load().fingerprint


def test_features_without_labels_are_refused(tmp_path):
    table = read(str(photos(tmp_path / "pictures", count=12, split=False, label=False)))
    compute_features(EfficientNetLite0(pixels=32), table, tmp_path / "features")
    with pytest.raises(DataError, match="features needs labels of at least two classes"):
        FeaturesSource(tmp_path / "features", Division(folds=3)).load()


def test_a_folder_without_features_is_refused(tmp_path):
    with pytest.raises(DataError, match=str(tmp_path)):
        FeaturesSource(tmp_path).load()
