import dataclasses
import inspect
import re
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from geocsp.cli import app
from geocsp.commands import sources
from geocsp.commands.check import check
from geocsp.commands.sources import bands_of, read_source
from geocsp.data.images import Bands
from geocsp.data.options import Columns, ReadOptions
from geocsp.errors import DataError


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
    assert read_source("a.csv", options, Path("out")) == "table"
    ((source, keywords),) = seen
    assert source == "a.csv"
    assert ReadOptions(**keywords) == options


def test_there_is_an_option_for_every_role_of_a_column():
    roles = {f"{field.name}_column" for field in dataclasses.fields(Columns)}
    assert roles == {name for name in inspect.signature(check).parameters if "column" in name}


@pytest.mark.parametrize("verb", ["check", "features"])
def test_if_nothing_can_be_used_the_quarantine_says_why_for_every_row(tmp_path, verb):
    table, out = tmp_path / "a.csv", tmp_path / "out"
    table.write_text("image,lon,lat\na.jpg,0,0\nb.jpg,10,95\n")
    run = CliRunner().invoke(app, [verb, str(table), "-o", str(out)])
    assert isinstance(run.exception, DataError)
    assert re.search("holds no image with a place.*quarantine.csv lists them", str(run.exception))
    lines = (out / "quarantine.csv").read_text().splitlines()
    assert [line.split(",")[1] for line in lines] == ["row", "0", "1"]
    assert [path.name for path in out.iterdir()] == ["quarantine.csv"]
