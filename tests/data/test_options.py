import pytest

from geocsp.data.options import Columns, ReadOptions, listing, simple
from geocsp.errors import DataError


def guess(*names, **named):
    return Columns(**named).resolve(names, "a.csv")


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (("image", "lon", "lat"), ("image", "lon", "lat")),
        (("Image Path", "Longitude (°)", "LATITUDE [deg]"), None),
        (("file_name", "decimalLongitude", "decimalLatitude"), None),
        (("\ufeffurl", "lng", "Lat"), None),
        (("SourceFile", "EXIF:GPSLongitude", "EXIF:GPSLatitude"), None),
        (("IMG_ID", "LON", "LAT"), None),
        (("photo", "site_lon", "site_lat"), None),
        (("photo", "cameraLng", "cameraLat"), None),
        (("identifier", "x", "y"), None),
        (("path", "Easting", "Northing"), None),
    ],
)
def test_images_and_places_are_guessed_by_name(names, wanted):
    found = guess(*names)
    assert tuple(found[role] for role in ("image", "lon", "lat")) == (wanted or names)


def test_the_other_roles_are_guessed_by_name():
    names = ("Event Date", "scientificName", "subset", "recordedBy")
    assert guess(*names) == dict(zip(("time", "label", "split", "group"), names, strict=True))


def test_of_several_guesses_the_first_of_the_list_wins():
    found = guess("y", "x", "long", "latitude", "lon", "lat", "url", "filename", "time", "date")
    assert found == {"image": "filename", "lon": "lon", "lat": "lat", "time": "date"}
    assert guess("LON", "lon") == {"lon": "LON"}


@pytest.mark.parametrize(
    "names",
    [
        ("x",),
        ("y", "northing"),
        ("x", "latitude"),
        ("start_lon", "end_lon", "start_lat", "end_lat"),
        ("salon", "flat", "belong", "plat", "balloon"),
        ("relation", "latent", "lonely"),
    ],
)
def test_no_longitude_is_guessed_where_it_is_not_clear(names):
    assert "lon" not in guess(*names)


def test_named_columns_win_and_are_no_other_role():
    found = guess("image", "site", "lon", "lat", "where", label="site", lon="where")
    assert found == {"image": "image", "lon": "where", "lat": "lat", "label": "site"}
    assert guess("a", "b", label="a", group="a") == {"label": "a", "group": "a"}


def test_a_named_column_that_is_not_there_is_told():
    with pytest.raises(DataError) as error:
        guess("a", "b\nc", lon="Lon")
    assert str(error.value) == "a.csv has no column 'Lon' for lon; its columns are a, b c"
    with pytest.raises(DataError, match="its columns are none"):
        guess(image="x")


def test_guesses_are_told_unless_they_are_plain():
    columns = Columns(label="kind")
    found = columns.resolve(["image", "Longitude", "lat", "kind"], "")
    assert columns.notes(found) == ["column 'Longitude' is taken as lon"]


def test_what_is_in_brackets_does_not_count():
    assert simple("Longitude (deg) [E]") == "longitude"
    assert simple("((x") == "x"
    assert simple("") == simple("()") == ""


def test_long_lists_of_names_are_cut():
    assert listing([]) == "none"
    assert listing([str(n) for n in range(100)]).endswith("38, 39 and 60 more")


def test_nothing_is_set_by_default():
    options = ReadOptions()
    assert options.columns == Columns()
    assert (options.crs, options.folder, options.layer) == (None, None, None)
    assert not options.keep_unplaced
