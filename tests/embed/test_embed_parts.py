import csv
from contextlib import suppress
from importlib.util import find_spec

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch.nn import functional as F

import geocsp
from geocsp.data.quarantine import Problem, quarantine_beside, write_quarantine
from geocsp.embed import Dtype, column_names, embed_places, untrained_encoder
from geocsp.embed.writers.text import write_text
from geocsp.errors import DataError
from geocsp.evaluate.probes import probed_encoder
from geocsp.files import replacing
from geocsp.models import load, location_of


def test_names_of_columns():
    assert column_names(2) == ["embedding_000", "embedding_001"]
    assert column_names(1000)[-1] == "embedding_999"
    assert column_names(1001, "e")[::1000] == ["e_0000", "e_1000"]
    assert len(set(column_names(1500))) == 1500


def test_embeddings_of_places():
    encoder = untrained_encoder("wrap", {"dim": 6}, seed=0)
    lonlat = np.array([[10.0, 20.0], [-180.0, 90.0]])
    raw = encoder.embed(torch.from_numpy(lonlat))
    np.testing.assert_array_equal(embed_places(encoder, lonlat), raw.numpy())
    unit = embed_places(encoder, lonlat, normalise=True)
    np.testing.assert_array_equal(unit, F.normalize(raw, dim=1).numpy())
    half = embed_places(encoder, lonlat, dtype=Dtype.FLOAT16)
    np.testing.assert_array_equal(half, raw.half().numpy())
    assert embed_places(encoder, np.empty((0, 2))).shape == (0, 6)
    with pytest.raises(DataError, match="lat 95"):
        embed_places(encoder, np.array([[0.0, 95.0]]))


def test_weights_of_sixteen_bits_give_numbers_of_thirty_two():
    encoder = untrained_encoder("wrap", {"dim": 6}, seed=0).bfloat16()
    assert embed_places(encoder, np.array([[10.0, 20.0]])).dtype == np.float32


def test_random_weights_are_those_that_are_probed():
    lonlat = torch.tensor([[10.0, 20.0], [3.0, 4.0]])
    ours = untrained_encoder("sphere2vec-spherec", {}, seed=7)
    assert not ours.training
    assert torch.equal(
        ours.embed(lonlat), probed_encoder("sphere2vec-spherec", seed=7).embed(lonlat)
    )


def test_a_run_folder_is_a_model(tmp_path):
    encoder = untrained_encoder("wrap", {"dim": 6}, seed=0)
    geocsp.GeoModel(encoder, 4).save_pretrained(tmp_path / "run" / "model")
    found = location_of(load(tmp_path / "run"))
    lonlat = torch.tensor([[10.0, 20.0]])
    assert torch.equal(found.embed(lonlat), encoder.embed(lonlat))
    with pytest.raises(DataError, match="does not exist"):
        load(tmp_path / "nowhere")


@pytest.mark.skipif(find_spec("geoclip") is None, reason="its weights are in its package")
def test_the_published_geoclip():
    lonlat = torch.tensor([[10.0, 20.0]])
    assert torch.equal(load("geoclip").embed(lonlat), probed_encoder("geoclip").embed(lonlat))


def test_a_file_takes_its_name_at_the_end(tmp_path):
    path = tmp_path / "file"
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    with suppress(KeyboardInterrupt), replacing(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "new"
    with replacing(path) as temporary:
        temporary.unlink()
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_report_is_as_other_reports_are(tmp_path):
    problems = [
        Problem("a.csv", 3, "no\n coordinates"),
        Problem("b, c.parquet", None, 'is "torn"'),
        Problem("\udcff.csv", 0, "odd"),
    ]
    with quarantine_beside(tmp_path / "out.parquet") as listed:
        listed.add(problems[:2])
        listed.add(problems[2:])
    expected = write_quarantine(tmp_path / "expected.csv", problems).read_bytes()
    assert (tmp_path / "out.quarantine.csv").read_bytes() == expected
    assert (listed.count, listed.first) == (3, problems[0])


@pytest.mark.parametrize("delimiter", [",", "\t", ";"])
def test_cells_come_back_by_the_standard_reader(delimiter, tmp_path):
    texts = ["plain", "", "a,b", 'q"q', "two\r\nlines", "tab\tin", ";", " spaces ", '"', "é"]
    numbers = [0.1, -1e-30, 3.4028235e38, None, 1 / 3, 7.0, 0.0, 1e10, 2.5, 1.1]
    block = pa.record_batch(
        {
            "text": pa.array(texts),
            "f,4": pa.array(numbers, pa.float32()),
            "f8": pa.array(numbers, pa.float64()),
            "kind": pa.array(texts).dictionary_encode(),
        }
    )
    write_text(tmp_path / "t", block.schema, [block, block.slice(0, 0), block], delimiter=delimiter)
    with (tmp_path / "t").open(newline="", encoding="utf-8") as file:
        heading, *rows = csv.reader(file, delimiter=delimiter)
    assert heading == ["text", "f,4", "f8", "kind"]
    assert [row[0] for row in rows] == texts * 2
    assert [row[3] for row in rows] == texts * 2
    singles = [None if row[1] == "" else np.float32(row[1]) for row in rows]
    assert singles == [None if n is None else np.float32(n) for n in numbers] * 2
    assert [float(row[2]) if row[2] else None for row in rows] == numbers * 2
