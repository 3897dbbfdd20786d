import pytest

from geocsp.data.columns.fields import ROLES, Fields, columns_of, flatten, split_named, text
from geocsp.data.options import Columns
from geocsp.errors import DataError


def found(sample, **columns):
    return dict(zip(ROLES, Fields(Columns(**columns)).of(sample), strict=True))


@pytest.mark.parametrize(
    "sample",
    [
        {"lat": 48.9, "lon": 2.4},
        {"Latitude": 48.9, "Longitude": 2.4},
        {"location": {"lat": 48.9, "lng": 2.4}},
        {"a": {"b": {"c": {"latitude": 48.9, "longitude": 2.4}}}},
        {"coordinates": [2.4, 48.9]},
        {"geometry": {"type": "Point", "coordinates": [2.4, 48.9, 35.0]}},
        {"latlng": (48.9, 2.4)},
        {"lat": [48.9], "lon": [2.4]},
        {"centroid_lat": 48.9, "centroid_lon": 2.4},
        {"x": 2.4, "y": 48.9},
    ],
)
def test_places_are_found_wherever_they_are(sample):
    assert found(sample)["lon"] == 2.4
    assert found(sample)["lat"] == 48.9


@pytest.mark.parametrize(
    "sample",
    [
        {},
        {"box": {"x": 10, "y": 20}},
        {"lat": 48.9},
        {"location": {"lat": 48.9}},
        {"location": [48.9, 2.4]},
        {"coordinates": [[2.4, 48.9], [2.5, 49.0]]},
        {"coordinates": ["2.4", "48.9"]},
        {"coordinates": [2.4]},
        {"coordinates": [float("nan"), 2.4]},
    ],
)
def test_what_is_no_place_is_none(sample):
    assert found(sample)["lon"] is None
    assert found(sample)["lat"] is None


def test_a_place_is_taken_from_one_parent():
    sample = {"camera": {"lat": 1.0}, "photo": {"lat": 3.0, "lon": 4.0}}
    assert (found(sample)["lon"], found(sample)["lat"]) == (4.0, 3.0)


def test_the_outer_place_comes_first():
    sample = {"author": {"lat": 1.0, "lon": 2.0}, "lat": 3.0, "lon": 4.0}
    assert (found(sample)["lon"], found(sample)["lat"]) == (4.0, 3.0)


def test_other_roles_are_beside_the_sample_or_in_its_properties():
    feature = {
        "type": "Feature",
        "properties": {"species": "Apus apus", "datetime": "2026-01-31"},
        "author": {"label": "no", "site": "no"},
    }
    assert found(feature)["label"] == "Apus apus"
    assert found(feature)["time"] == "2026-01-31"
    assert found(feature)["group"] is None


def test_fields_that_were_named_win_and_may_be_nested():
    sample = {"label": "guess", "meta": {"kind": "named", "e": 1.0, "n": 2.0}, "lon": 9, "lat": 9}
    names = found(sample, label="meta.kind", lon="meta.e", lat="meta.n")
    assert (names["label"], names["lon"], names["lat"]) == ("named", 1.0, 2.0)


def test_a_named_field_that_no_sample_has_is_refused():
    fields = Fields(Columns(label="kind"))
    fields.of({"lon": 1, "lat": 2})
    with pytest.raises(DataError, match=r"^x.tar has no field 'kind' for label; .* lon, lat$"):
        fields.check("x.tar")
    fields.of({"kind": "a"})
    fields.check("x.tar")


def test_pairs_are_noted():
    fields = Fields(Columns())
    fields.of({"latlon": [1.0, 2.0]})
    fields.of({"a": {"coords": [1.0, 2.0]}})
    assert fields.notes == [
        "places are the pairs in 'latlon', latitude first",
        "places are the pairs in 'a.coords', longitude first",
    ]


def test_flattening_goes_a_few_levels_deep_only():
    nested = {"end": 0}
    for _ in range(2000):
        nested = {"a": nested, "b": 1}
    flat = flatten(nested)
    assert list(flat) == ["b", "a.b", "a.a.b", "a.a.a.b", "a.a.a.a.b"]


def test_samples_with_fields_of_their_own_fill_no_memory():
    fields = Fields(Columns())
    for number in range(1500):
        fields.of({f"field{number}": 1})
    assert len(fields._known) == 1000


def test_columns_are_numbers_where_all_values_are():
    columns = columns_of(
        [[1, 2.5], ["3", 4], [1577836800.0, None], [7, "a"], [None] * 2, [True, 0]]
    )
    assert columns["lon"].to_pylist() == [1.0, 2.5]
    assert columns["lat"].to_pylist() == ["3", "4"]
    assert columns["time"].to_pylist() == ["1577836800", None]
    assert columns["label"].to_pylist() == ["7", "a"]
    assert columns["split"].to_pylist() == [None, None]


def test_numbers_too_long_for_arrow_are_text():
    columns = columns_of([[10**400], [0], *[[None]] * 4])
    assert columns["lon"].to_pylist() == [str(10**400)]


def test_text_has_no_surrogates():
    assert text("a\udcff\ud800ä") == "a\\udcff\\ud800ä"


@pytest.mark.parametrize(
    ("file", "split"),
    [
        ("data/train-00001-of-00004.parquet", "train"),
        ("s3://bucket/imagenet-val-000.tar", "validation"),
        ("test.tar", "test"),
        ("train/shard-000.tar", None),
        ("contrain-000.tar", None),
        ("train-test-000.tar", None),
        ("c:\\x\\dev_01.parquet", "validation"),
    ],
)
def test_names_of_files_tell_the_split(file, split):
    assert split_named(file) == split
