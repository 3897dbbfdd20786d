import dataclasses
import inspect
import re

import pytest
import typer

from geocsp.commands import sources
from geocsp.commands.check import check
from geocsp.commands.sources import bands_of, read_source
from geocsp.data.images import Bands
from geocsp.data.options import Columns, ReadOptions


@pytest.mark.parametrize(
    ("numbers", "value_range", "bands"),
    [
        (None, None, Bands()),
        ("4,3,2", None, Bands((4, 3, 2))),
        (" 4, 3 ,2", "0,3000", Bands((4, 3, 2), 0, 3000)),
        (None, "-1.5,1e3", Bands(None, -1.5, 1000)),
        ("1", None, Bands((1,))),
    ],
)
def test_bands_are_read_from_text(numbers, value_range, bands):
    assert bands_of(numbers, value_range) == bands


@pytest.mark.parametrize(
    ("numbers", "value_range", "message"),
    [
        ("red", None, "'red' is no list of numbers such as 4,3,2"),
        ("4;3;2", None, "is no list of numbers"),
        ("4,,2", None, "is no list of numbers"),
        ("", None, "is no list of numbers"),
        ("0,1,2", None, "bands are numbered from 1"),
        ("1.5", None, "is no list of numbers"),
        (None, "3000", "give two numbers, such as 0,3000"),
        (None, "0,1,2", "give two numbers"),
        (None, "low,high", "is no list of numbers such as 0,3000"),
        (None, "5,1", "the range must rise"),
        (None, "nan,1", "the range must rise"),
    ],
)
def test_what_is_no_band_or_range_is_told(numbers, value_range, message):
    with pytest.raises(typer.BadParameter, match=re.escape(message)):
        bands_of(numbers, value_range)


def test_all_options_reach_the_reader(monkeypatch):
    options = ReadOptions(Columns(lon="x"), "EPSG:32632", "photos", Bands((1,)), True, "places")
    seen = []
    monkeypatch.setattr(sources, "read", lambda source, **k: seen.append((source, k)) or "table")
    assert read_source("a.csv", options) == "table"
    ((source, keywords),) = seen
    assert source == "a.csv"
    assert ReadOptions(**keywords) == options


def test_there_is_an_option_for_every_role_of_a_column():
    roles = {f"{field.name}_column" for field in dataclasses.fields(Columns)}
    assert roles == {name for name in inspect.signature(check).parameters if "column" in name}
