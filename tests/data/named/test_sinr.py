import json

import numpy as np
import pytest

from geocsp.data.read import read
from geocsp.errors import DataError

ROWS = """observation_uuid,latitude,longitude,positional_accuracy,taxon_id,observed_on,observer_id
a,48.5,2.25,10,100,2019-07-02,7
b,-33.5,151.25,,9,2020-01-01,8
c,200,10,,9,2020-01-01,8
d,,,5,100,2020-01-01,8
e,1.5,103.5,,100,,7
"""
NAMES = [{"taxon_id": 9, "latin_name": "Parus major"}, {"taxon_id": 5}, None]


@pytest.mark.parametrize("place", [".", "train", "data/train"])
def test_places_species_dates_and_observers(place, tmp_path):
    folder = tmp_path / place
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "geo_prior_train.csv").write_text(ROWS)
    (folder / "geo_prior_train_meta.json").write_text(json.dumps(NAMES))
    table = read(f"sinr:{tmp_path}")
    np.testing.assert_array_equal(table.lonlat, [[2.25, 48.5], [151.25, -33.5], [103.5, 1.5]])
    assert table.class_names == ("Parus major", "100")
    assert table.labels.tolist() == [1, 0, 1]
    assert [table.group.names[c] for c in table.group.codes] == ["7", "8", "7"]
    assert [table.split.names[c] for c in table.split.codes] == ["train"] * 3
    np.testing.assert_allclose(table.time[:, 0], [182 / 365, 0, np.nan])
    assert np.isnan(table.time[:, 1]).all()
    assert [(p.row, p.reason[:12]) for p in table.problems] == [
        (2, "latitude 200"),
        (3, "no coordinat"),
    ]


def test_there_are_no_images(tmp_path):
    (tmp_path / "geo_prior_train.csv").write_text(ROWS)
    table = read(f"sinr:{tmp_path}")
    assert table.images.names.to_pylist() == [None] * 3
    assert table.notes == ("there are no images, only places",)
    with pytest.raises(DataError, match="is a place without an image"):
        table.images.load(0)
    assert list(table.images.stamps()) == ["no image"] * 3
    assert len(table.take(np.array([0, 2])).images) == 2
    assert table.fingerprint != table.take(np.array([0, 2])).fingerprint


def test_older_columns_are_known(tmp_path):
    rows = "id,latitude,longitude,taxon_id,date,user_id\n1,48.5,2.25,3,2019-07-02,9\n"
    (tmp_path / "geo_prior_train.csv").write_text(rows)
    table = read(f"sinr:{tmp_path}")
    assert table.group.names == ("9",)
    np.testing.assert_allclose(table.time[0, 0], 182 / 365)


def test_places_and_species_are_enough(tmp_path):
    rows = "latitude,longitude,taxon_id\n48.5,2.25,3\n40,-74,x\n"
    (tmp_path / "geo_prior_train.csv").write_text(rows)
    table = read(f"sinr:{tmp_path}")
    assert table.labels.tolist() == [0, -1]
    assert table.time is table.group is None


def test_damaged_names_are_named(tmp_path):
    (tmp_path / "geo_prior_train.csv").write_text(ROWS)
    (tmp_path / "geo_prior_train_meta.json").write_text("[")
    with pytest.raises(DataError, match=r"geo_prior_train_meta\.json is damaged or no JSON"):
        read(f"sinr:{tmp_path}")
