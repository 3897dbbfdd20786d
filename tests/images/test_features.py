import csv
import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from toys import ToyEncoder, toy_photos

from geocsp.data import cache as cache_module
from geocsp.data.batches import feature_batches
from geocsp.data.cache import FeatureCache, Storage
from geocsp.data.images import FileImages
from geocsp.data.quarantine import Problem
from geocsp.errors import DataError
from geocsp.images import features as features_module
from geocsp.images.decode import decode
from geocsp.images.extract import ExtractionPlan, features_of
from geocsp.images.features import Features, compute_features, open_features
from geocsp.images.table_source import TableImages


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch):
    monkeypatch.setattr(cache_module, "SHARD_ROWS", 10)


def one_by_one(encoder, table):
    """Slow plain features, one image at a time."""
    rows = []
    for row in range(len(table)):
        image = decode(table.images.load(row), encoder.framing)
        rows.append(features_of(encoder, image[None], bfloat16=False))
    return torch.cat(rows)


def test_features_stand_beside_the_rows_they_belong_to(tmp_path):
    encoder, table = ToyEncoder(), toy_photos(tmp_path / "photos", 23)
    features = compute_features(encoder, table, tmp_path / "out", bfloat16=False)
    assert features.shape == (23, 5)
    assert len(features) == len(features.table) == 23
    expected = one_by_one(encoder, table)
    torch.testing.assert_close(features.read(), expected, atol=2e-3, rtol=2e-3)
    some = np.array([20, 3, 11])
    assert torch.equal(features[some], features.read()[some])
    assert torch.equal(features[torch.tensor(some)], features.read()[some])
    assert torch.equal(features.take(some).read(), features.read()[some])


def test_images_that_cannot_be_read_are_listed_and_the_rest_is_used(tmp_path):
    encoder = ToyEncoder()
    table = toy_photos(tmp_path / "photos", 23, broken=(3, 22))
    features = compute_features(encoder, table, tmp_path / "out", bfloat16=False)
    assert features.rows.tolist() == [row for row in range(23) if row not in (3, 22)]
    assert bool(features.read().isfinite().all())
    good = table.take(features.rows)
    torch.testing.assert_close(features.read(), one_by_one(encoder, good), atol=2e-3, rtol=2e-3)
    assert np.array_equal(features.table.lonlat, good.lonlat)
    assert np.array_equal(features.table.labels, good.labels)
    with (tmp_path / "out" / "quarantine.csv").open(newline="") as file:
        listed = list(csv.DictReader(file))
    assert [row["file"] for row in listed] == ["003.png", "022.png"]
    assert all("damaged" in row["reason"] for row in listed)


def test_the_folder_alone_gives_the_same_features_and_table(tmp_path):
    table = toy_photos(tmp_path / "photos", 23, broken=(5,))
    made = compute_features(ToyEncoder(), table, tmp_path / "out", bfloat16=False)
    again = open_features(tmp_path / "out")
    assert torch.equal(again.read(), made.read())
    assert again.rows.tolist() == made.rows.tolist()
    assert np.array_equal(again.table.lonlat, made.table.lonlat)
    assert again.table.class_names == made.table.class_names
    assert np.array_equal(again.table.labels, made.table.labels)
    paths = [[t.images.path(row) for row in range(22)] for t in (again.table, made.table)]
    assert paths[0] == paths[1]


def test_what_is_there_is_not_computed_again(tmp_path):
    table = toy_photos(tmp_path / "photos", 23)
    compute_features(ToyEncoder(), table, tmp_path / "out", bfloat16=False)
    (tmp_path / "out" / "000001.npy").unlink()
    encoder = ToyEncoder()
    compute_features(encoder, table, tmp_path / "out", bfloat16=False)
    assert encoder.calls == 1
    compute_features(encoder, table, tmp_path / "out", bfloat16=False)
    assert encoder.calls == 1


def test_another_encoder_or_other_images_need_another_folder(tmp_path):
    table = toy_photos(tmp_path / "photos", 5)
    compute_features(ToyEncoder(), table, tmp_path / "out", bfloat16=False)
    with pytest.raises(DataError, match=r"other features \(encoder_fingerprint differ\)"):
        compute_features(ToyEncoder(seed=1), table, tmp_path / "out", bfloat16=False)
    with pytest.raises(DataError, match=r"other features \(rows differ\)"):
        compute_features(ToyEncoder(), table.take(np.arange(4)), tmp_path / "out", bfloat16=False)
    photo = tmp_path / "photos" / "002.png"
    photo.write_bytes(photo.read_bytes() + b"\0")
    with pytest.raises(DataError, match=r"other features \(data_fingerprint differ\)"):
        compute_features(ToyEncoder(), table, tmp_path / "out", bfloat16=False)
    other = {"bfloat16": True}, {"storage": Storage.BFLOAT16}
    for settings, name in zip(other, ("precision", "dtype"), strict=True):
        with pytest.raises(DataError, match=rf"other features \({name}"):
            compute_features(
                ToyEncoder(), table, tmp_path / "out", **({"bfloat16": False} | settings)
            )


def test_without_a_folder_the_users_cache_keeps_one_for_each_fingerprint(tmp_path, monkeypatch):
    monkeypatch.setenv("GEOCSP_CACHE", str(tmp_path / "cache"))
    table = toy_photos(tmp_path / "photos", 5)
    for seed in (0, 1, 0):
        compute_features(ToyEncoder(seed), table, bfloat16=False)
    assert len(list((tmp_path / "cache" / "features").iterdir())) == 2


def test_if_no_image_can_be_used_that_is_an_error_with_the_first_reason(tmp_path):
    table = toy_photos(tmp_path / "photos", 3, broken=(0, 1, 2))
    with pytest.raises(DataError, match=r"none of 3 images could be used: 000.png is damaged"):
        compute_features(ToyEncoder(), table, tmp_path / "out", bfloat16=False)


def test_a_table_of_another_length_is_refused(tmp_path):
    table = toy_photos(tmp_path / "photos", 5)
    cache = FeatureCache(tmp_path / "out", rows=4, dim=2)
    with pytest.raises(DataError, match="5 rows of the table, but features of 4 images"):
        Features.of(table, cache)


def test_a_full_disk_is_told_and_a_later_run_goes_on(tmp_path, monkeypatch):
    table, real = toy_photos(tmp_path / "photos", 23), cache_module.write_atomically

    def full(path, content):
        if path.name == "000001.npy":
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(cache_module, "write_atomically", full)
        with pytest.raises(DataError, match="No space left on device"):
            compute_features(ToyEncoder(), table, tmp_path / "out", bfloat16=False)
    encoder = ToyEncoder()
    features = compute_features(encoder, table, tmp_path / "out", bfloat16=False)
    assert encoder.calls == 2
    whole = compute_features(ToyEncoder(), table, tmp_path / "other", bfloat16=False)
    assert torch.equal(features.read(), whole.read())


KILLED = """
import sys, time
sys.path.insert(0, {tests!r})
from pathlib import Path
from geocsp.data import cache
from geocsp.images.features import compute_features
from toys import ToyEncoder, toy_table
cache.SHARD_ROWS = 10
class Slow(ToyEncoder):
    def forward(self, image):
        time.sleep(0.02)
        return super().forward(image)
Slow.__qualname__ = "ToyEncoder"
compute_features(Slow(), toy_table(Path({photos!r}), 60), Path({out!r}), bfloat16=False)
"""


def test_a_kill_at_any_moment_loses_no_finished_shard(tmp_path):
    table = toy_photos(tmp_path / "photos", 60)
    out = tmp_path / "out"
    script = KILLED.format(
        tests=str(Path(__file__).parent), photos=str(tmp_path / "photos"), out=str(out)
    )
    process = subprocess.Popen([sys.executable, "-c", script])
    deadline = time.monotonic() + 60
    while len(list(out.glob("*.npy"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    done = sorted(out.glob("*.npy"))
    assert 2 <= len(done) < 6
    stamps = {path: path.stat().st_mtime_ns for path in done}
    about = json.loads((out / "about.json").read_text())
    encoder = ToyEncoder()
    assert about["data_fingerprint"] == table.images_fingerprint
    features = compute_features(encoder, table, out, bfloat16=False)
    assert encoder.calls == 6 - len(done)
    assert {path: path.stat().st_mtime_ns for path in done} == stamps
    whole = compute_features(ToyEncoder(), table, tmp_path / "whole", bfloat16=False)
    assert torch.equal(features.read(), whole.read())


def test_several_processes_read_one_cache(tmp_path):
    table = toy_photos(tmp_path / "photos", 23)
    made = compute_features(ToyEncoder(), table, tmp_path / "out", bfloat16=False)
    script = (
        "import sys; from pathlib import Path; from geocsp.images.features import open_features;"
        "print(float(open_features(Path(sys.argv[1])).read().double().sum()))"
    )
    readers = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path / "out")],
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for reader in readers:
        answer, _ = reader.communicate(timeout=120)
        assert float(answer) == float(made.read().double().sum())


def test_pretraining_reads_features_off_the_disk_and_ends_as_from_memory(tmp_path):
    import geocsp
    from geocsp import PretrainSettings, pretrain

    table = toy_photos(tmp_path / "photos", 23, broken=(4,))
    features = compute_features(ToyEncoder(), table, tmp_path / "out", bfloat16=False)
    lonlat = torch.from_numpy(features.table.lonlat).float()
    weights = []
    for given in (features, features.read()):
        torch.manual_seed(0)
        model = geocsp.GeoModel(geocsp.create("location", "wrap", dim=8), 5)
        objective = geocsp.create("objective", "csp-mc")
        pretrain(model, objective, given, lonlat, PretrainSettings(2, batch_size=8), seed=0)
        weights.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    assert torch.equal(*weights)


def test_rows_taken_after_a_failure_are_those_of_the_table(tmp_path):
    table = toy_photos(tmp_path / "photos", 8, broken=(0, 3))
    table = replace(table, problems=(Problem("left.csv", 4, "no latitude"),))
    features = compute_features(ToyEncoder(), table, tmp_path / "out", bfloat16=False)
    some = np.array([4, 1])
    taken = features.take(some)
    assert torch.equal(taken.read(), features.read()[some])
    assert taken.table.images.names.to_pylist() == ["006.png", "002.png"]
    files = [problem.file for problem in features.table.problems]
    assert files == ["left.csv", "000.png", "003.png"]


def test_images_that_can_be_used_at_last_are_computed_by_the_next_run(tmp_path):
    table = toy_photos(tmp_path / "photos", 23)
    hidden = tmp_path / "hidden.png"
    (tmp_path / "photos" / "003.png").rename(hidden)

    class Unreachable(FileImages):
        """Stamps as of files that are there, as when a disk goes away later."""

        def stamps(self):
            return ["there"] * len(self)

    images = Unreachable(table.images.names, table.images.folder)
    gone = replace(table, images=images)
    assert len(compute_features(ToyEncoder(), gone, tmp_path / "gone", bfloat16=False)) == 22
    hidden.rename(tmp_path / "photos" / "003.png")
    encoder = ToyEncoder()
    features = compute_features(encoder, gone, tmp_path / "gone", bfloat16=False)
    assert len(features) == 23
    assert encoder.calls == 1  # the shard of that image alone
    assert features.table.problems == ()
    whole = compute_features(ToyEncoder(), table, tmp_path / "whole", bfloat16=False)
    assert torch.equal(features.read(), whole.read())


def test_a_folder_where_nothing_could_be_used_is_free_for_other_settings(tmp_path):
    table = toy_photos(tmp_path / "photos", 3, broken=(0, 1, 2))
    with pytest.raises(DataError, match="none of 3 images"):
        compute_features(ToyEncoder(), table, tmp_path / "out", bfloat16=False)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["quarantine.csv"]
    listed = (tmp_path / "out" / "quarantine.csv").read_text().splitlines()
    assert len(listed) == 4
    good = toy_photos(tmp_path / "good", 4)
    assert len(compute_features(ToyEncoder(1), good, tmp_path / "out", bfloat16=False)) == 4


def test_features_without_a_word_on_what_they_are_of_are_not_adopted(tmp_path):
    table = toy_photos(tmp_path / "photos", 5)
    compute_features(ToyEncoder(), table, tmp_path / "out", bfloat16=False)
    (tmp_path / "out" / "about.json").unlink()
    with pytest.raises(DataError, match=r"holds features without about.json"):
        compute_features(ToyEncoder(1), table, tmp_path / "out", bfloat16=False)


def test_of_two_runs_that_start_together_on_one_folder_one_wins(tmp_path):
    table = toy_photos(tmp_path / "photos", 40)
    start, ends = threading.Barrier(2), []

    class Late(FeatureCache):
        def about(self, **expected):
            found = super().about(**expected)
            if found is None:
                start.wait(10)  # both see a new folder
            return found

    def run(seed):
        encoder = ToyEncoder(seed)
        source = TableImages(table.images, table.images_fingerprint, encoder.framing)
        plan = ExtractionPlan.make(encoder, source, folder=tmp_path / "out", bfloat16=False)
        plan = replace(plan, store=Late(tmp_path / "out", 40, 5, shard_rows=10))
        try:
            plan.run(encoder, source)
            ends.append(seed)
        except DataError as error:
            ends.append(str(error))

    threads = [threading.Thread(target=run, args=(seed,)) for seed in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    (winner,) = [end for end in ends if isinstance(end, int)]
    (loser,) = [end for end in ends if isinstance(end, str)]
    assert "holds other features (encoder_fingerprint differ)" in loser
    alone = compute_features(ToyEncoder(winner), table, tmp_path / "alone", bfloat16=False)
    assert torch.equal(FeatureCache(tmp_path / "out", 40, 5, shard_rows=10).read(), alone.read())


def test_batches_of_features_are_rows_of_their_table(tmp_path):
    table = toy_photos(tmp_path / "photos", 30, broken=(0, 7))
    features = compute_features(ToyEncoder(), table, tmp_path / "out", bfloat16=False)
    mixed = features.take(np.array([20, 3, 11, 4, 0, 27]))
    for given in (features, mixed):
        whole, seen = given.read(), []
        order = torch.randperm(len(given), generator=torch.Generator().manual_seed(0))
        for batch in feature_batches(given, order.split(4)):
            assert torch.equal(batch.features, whole[batch.rows])
            seen += batch.rows.tolist()
        assert sorted(seen) == list(range(len(given)))


def test_moments_are_those_of_the_features_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(features_module, "_ROWS", 7)
    table = toy_photos(tmp_path / "photos", 30, broken=(2,))
    features = compute_features(ToyEncoder(), table, tmp_path / "out", bfloat16=False)
    mean, deviation = features.moments()
    whole = features.read().double()
    torch.testing.assert_close(mean, whole.mean(0))
    torch.testing.assert_close(deviation, whole.std(0, correction=0))
    import geocsp

    models = [geocsp.GeoModel(geocsp.create("location", "wrap", dim=8), 5) for _ in range(2)]
    models[0].standardise_by(features)
    models[1].standardise_by(features.read())
    torch.testing.assert_close(models[0].feature_mean, models[1].feature_mean)
    torch.testing.assert_close(models[0].feature_deviation, models[1].feature_deviation)


def test_an_encoder_in_training_mode_is_used_in_evaluation_mode_and_left_as_it_was(tmp_path):
    class Normed(ToyEncoder):
        def __init__(self):
            super().__init__()
            self.norm = torch.nn.BatchNorm2d(3)
            self.train()

        def forward(self, image):
            return super().forward(self.norm(image))

    encoder, table = Normed(), toy_photos(tmp_path / "photos", 12)
    before = encoder.fingerprint()
    compute_features(encoder, table, tmp_path / "out", bfloat16=False)
    assert encoder.fingerprint() == before
    assert encoder.norm.training
