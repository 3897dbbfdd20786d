import subprocess
import sys

import pytest

import geocsp
from geocsp.data.options import ReadOptions
from geocsp.data.read import read
from geocsp.errors import DataError
from geocsp.registry import create

FIRST = {
    "birdsnap": ("birdsnap_with_loc_2019.json", "Birdsnap with places"),
    "birdsnap-ebird": ("birdsnap_with_loc_2019.json", "Birdsnap with places"),
    "fmow": ("train/airport", "fMoW"),
    "geolifeclef": ("observations/observations_fr_train.csv", "GeoLifeCLEF"),
    "geolifeclef2023": ("Presence_only_occurrences/Presences_only_train.csv", "GeoLifeCLEF"),
    "geolifeclef2024": ("PresenceOnlyOccurrences/GLC24_PO_metadata_train.csv", "GeoLifeCLEF"),
    "im2gps": ("im2gps_places365.csv", "the list of places of Im2GPS"),
    "im2gps3k": ("im2gps3k_places365.csv", "the list of places of Im2GPS3k"),
    "inat2017": ("train2017.json", "iNaturalist 2017"),
    "inat2018": ("train2018.json", "iNaturalist 2018"),
    "inat2021": ("train.json", "iNaturalist 2021"),
    "inat2021-mini": ("train_mini.json", "iNaturalist 2021"),
    "nabirds": ("nabirds_with_loc_2019.json", "NABirds with places"),
    "osv5m": ("train.csv", "OpenStreetView-5M"),
    "s2-100k": ("index.csv", "S2-100K"),
    "sinr": ("geo_prior_train.csv", "SINR's training data"),
    "yfcc100m-geo": ("train_test_split.csv", "YFCC100M-GEO100"),
}


def test_all_layouts_are_registered():
    assert geocsp.available("layout") == sorted(FIRST)


@pytest.mark.parametrize("name", sorted(FIRST))
def test_where_data_is_missing_the_file_and_its_source_are_named(name, tmp_path):
    file, title = FIRST[name]
    with pytest.raises(DataError) as error:
        read(f"{name}:{tmp_path}")
    start = f"{tmp_path / file} does not exist; {title} is to be had at https://"
    assert str(error.value).startswith(start)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", sorted(FIRST))
def test_a_folder_that_is_not_there_is_told_like_a_missing_file(name, tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        create("layout", name, root=tmp_path / "nowhere", options=ReadOptions())


def test_the_blue_marble_is_not_loaded_for_layouts():
    code = (
        "import sys, geocsp; geocsp.available('layout'); "
        "print('geocsp.data.named.bluemarble' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_an_unknown_name_is_a_path(tmp_path):
    with pytest.raises(DataError, match="inat2030"):
        read(f"inat2030:{tmp_path}")


def test_a_table_remembers_its_recipe_though_it_is_frozen(tmp_path):
    (tmp_path / "index.csv").write_text("fn,lon,lat\na.tif,1,2\n")
    table = create("layout", "s2-100k", root=tmp_path, options=ReadOptions())
    assert table.recipe == {
        "name": "s2-100k",
        "settings": {"root": tmp_path, "options": ReadOptions()},
    }
