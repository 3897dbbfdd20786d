import numpy as np
import pytest

from geocsp.data.named.no_images import NoImages
from geocsp.data.read import read
from geocsp.errors import DataError

FR = """observation_id;latitude;longitude;species_id;subset
10561949;45.705116;1.424622;241;train
10131188;45.146973;6.416794;9;val
10799362;x;4.5;9;train
"""
US = """observation_id;latitude;longitude;species_id;subset
22068100;34.049999;-118.5;241;train
"""
TEST = """observation_id;latitude;longitude
10000001;43.5;5.25
"""


def write(root, files):
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


def names(column):
    return [column.names[code] if code >= 0 else None for code in column.codes]


def test_2022_has_two_regions_three_splits_and_aerial_patches(tmp_path):
    files = {
        "observations/observations_fr_train.csv": FR,
        "observations/observations_us_train.csv": US,
        "observations/observations_fr_test.csv": TEST,
    }
    table = read(f"geolifeclef:{write(tmp_path, files)}")
    assert [table.images.path(row) for row in range(4)] == [
        str(tmp_path / name)
        for name in (
            "patches-fr/49/19/10561949_rgb.jpg",
            "patches-fr/88/11/10131188_rgb.jpg",
            "patches-us/00/81/22068100_rgb.jpg",
            "patches-fr/01/00/10000001_rgb.jpg",
        )
    ]
    np.testing.assert_array_equal(table.lonlat[2:], [[-118.5, 34.049999], [5.25, 43.5]])
    assert names(table.split) == ["train", "val", "train", "test"]
    assert table.class_names == ("9", "241")
    assert table.labels.tolist() == [1, 0, 1, -1]
    assert table.time is table.group is None
    (problem,) = table.problems
    assert problem.file == str(tmp_path / "observations/observations_fr_train.csv")
    assert (problem.row, problem.reason) == (2, "no latitude")


def test_2020_has_places_alone(tmp_path):
    rows = "id;lat;lon;species_id\n10000000;45.705;1.42;241\n10000001;45.14;6.41;101\n"
    test = "id;lat;lon\n10000002;45.5;6.5\n"
    stem = "occurrences/occurrences_fr"
    write(tmp_path, {f"{stem}_train.csv": rows, f"{stem}_test.csv": test})
    table = read(f"geolifeclef:{tmp_path}")
    np.testing.assert_array_equal(table.lonlat[0], [1.42, 45.705])
    assert names(table.split) == ["train", "train", "test"]
    assert table.class_names == ("101", "241")
    assert isinstance(table.images, NoImages)
    assert table.notes == ("patches of 2020 are numpy arrays, which are not read",)


ROWS_2023 = (
    "glcID;gbifID;observer;datasetName;date;dayOfYear;year;lon;lat;speciesId;patchID;timeSerieID\n"
    "2522017;188.0;Bjørn Løfall;NOR;2018-06-17;168;2018;10.95154;59.2511;9343;5982155;2959445\n"
    '915820;370.0;"Burton, V.; Iris";UK;2020-08-23;236;2020;22.67836;43.39697;24;12;3900275\n'
    "1;2;;UK;;;;1;2;24;;3\n"
)


def test_2023_has_patches_dates_and_observers(tmp_path):
    file = "Presence_only_occurrences/Presences_only_train.csv"
    table = read(f"geolifeclef2023:{write(tmp_path, {file: ROWS_2023})}")
    assert table.images.path(0) == str(tmp_path / "SatelliteImages/rgb/55/21/5982155.jpeg")
    assert len(table) == 2
    np.testing.assert_array_equal(table.lonlat[1], [22.67836, 43.39697])
    assert names(table.group) == ["Bjørn Løfall", "Burton, V.; Iris"]
    assert table.class_names == ("24", "9343")
    np.testing.assert_allclose(table.time[0], [167 / 365, np.nan])
    assert [(p.row, p.reason) for p in table.problems] == [(2, "names no image")]
    assert names(table.split) == ["train", "train"]


ROWS_2024 = (
    "publisher,year,month,day,lat,lon,geoUncertaintyInM,taxonRank,date,dayOfYear,speciesId,surveyId\n"
    "GBIF,2021,8,1,44.5,4.5,10,SPECIES,2021-08-01,213,5032,3018575\n"
    "GBIF,2021,8,1,44.5,4.5,10,SPECIES,2021-08-01,213,77.0,3018575\n"
)


@pytest.mark.parametrize(
    "file",
    [
        "PresenceOnlyOccurrences/GLC24_PO_metadata_train.csv",
        "GLC24_P0_metadata_train.csv",
        "PresenceOnlyOccurences/GLC25_PO_metadata_train.csv",
    ],
)
def test_2024_has_surveys_and_patches_where_their_folder_is_named(file, tmp_path):
    write(tmp_path, {file: ROWS_2024})
    table = read(f"geolifeclef2024:{tmp_path}")
    np.testing.assert_array_equal(table.lonlat, [[4.5, 44.5], [4.5, 44.5]])
    assert names(table.label) == ["5032", "77"]
    assert names(table.group) == ["3018575", "3018575"]
    assert isinstance(table.images, NoImages)
    table = read(f"geolifeclef2024:{tmp_path}", folder=str(tmp_path / "patches"))
    assert table.images.path(0) == str(tmp_path / "patches/75/85/3018575.jpeg")


def test_rows_that_are_cut_off_are_left_out(tmp_path):
    file = "observations/observations_fr_train.csv"
    rows = FR.replace("10131188;45.146973;6.416794;9;val", "10131188;45.146973")
    table = read(f"geolifeclef:{write(tmp_path, {file: rows})}")
    assert len(table) == 1
    assert [(p.row, p.reason) for p in table.problems] == [
        (1, "has 2 fields where the heading has 5"),
        (2, "no latitude"),
    ]


def test_commas_instead_of_semicolons_are_told(tmp_path):
    file = "observations/observations_fr_train.csv"
    with pytest.raises(DataError, match=r"observations_fr_train\.csv has no column 'latitude'"):
        read(f"geolifeclef:{write(tmp_path, {file: FR.replace(';', ',')})}")
