import csv
import json
import sys

import numpy as np
import pytest
import torch
from hostile import encoded, exif, gps, huge_png, picture
from PIL import Image
from typer.testing import CliRunner

import geocsp
from geocsp.cli import app, main
from geocsp.coords import great_circle_km
from geocsp.evaluate.geolocation import geolocate_gallery, grid_places
from geocsp.geolocate import store as store_module
from geocsp.images.single import open_photo
from geocsp.model import GeoModel
from geocsp.models import fingerprint_of, load_with_images

RUNNER = CliRunner()


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    """A model with image encoder, as a folder."""
    torch.manual_seed(0)
    image = geocsp.create("image", "efficientnet-lite0", pixels=64)
    location = geocsp.create("location", "sphere2vec-spherec", dim=16)
    model = GeoModel(location, image.dim, image=image).eval()
    return model.save_pretrained(tmp_path_factory.mktemp("run") / "model")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    (folder / "placed.jpg").write_bytes(encoded(picture(), exif=exif(gps(8.5, -47.25))))
    (folder / "unplaced.jpg").write_bytes(encoded(picture(seed=2, size=(90, 70))))
    (folder / "unplaced.png").write_bytes(encoded(picture(seed=3), "PNG"))
    (folder / "broken.jpg").write_text("hello")
    return folder


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("GEOCSP_CACHE", str(tmp_path_factory.getbasetemp() / "geolocate"))


def geolocate(run_folder, output, *arguments):
    given = ["geolocate", *map(str, arguments), "-m", str(run_folder), "-o", str(output)]
    return RUNNER.invoke(app, given)


def facts_of(run):
    assert run.exit_code == 0, run.output + str(run.exception)
    return json.loads(run.stdout)


def fails(arguments, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["geocsp", "geolocate", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        main()
    told = capsys.readouterr().err
    assert stopped.value.code == 2, told
    assert "Traceback" not in told
    return told


def test_photos_are_found_as_the_evaluation_finds_them(run_folder, photos, tmp_path):
    names = ("placed.jpg", "unplaced.jpg", "unplaced.png")
    files = [photos / name for name in names]
    options = ("--grid", 800, "--apart", 0, "--count", 4, "--json")
    facts = facts_of(geolocate(run_folder, tmp_path / "out", *files, *options))
    assert json.loads((tmp_path / "out" / "results.json").read_text()) == facts
    model = load_with_images(run_folder)
    pixels = torch.cat([open_photo(path, model.image).pixels for path in files])
    expected = geolocate_gallery(model, pixels, grid_places(800), 4)
    for row, photo in enumerate(facts["photos"]):
        assert photo["photo"] == str(files[row])
        assert [place["rank"] for place in photo["places"]] == [1, 2, 3, 4]
        found = torch.tensor([(place["lon"], place["lat"]) for place in photo["places"]])
        torch.testing.assert_close(found, expected.lonlat[row].float(), atol=1e-4, rtol=0)
        shares = torch.tensor([place["probability"] for place in photo["places"]])
        torch.testing.assert_close(shares, expected.probabilities[row].float(), rtol=1e-3, atol=0)
        scores = torch.tensor([place["score"] for place in photo["places"]])
        torch.testing.assert_close(scores, expected.scores[row], rtol=0, atol=1e-5)
    assert facts["settings"]["grid_km"] == 800
    assert facts["places"] == len(grid_places(800))
    assert facts["model_fingerprint"] == fingerprint_of(model)
    assert facts["versions"]["geocsp"] == geocsp.__version__
    placed, *others = facts["photos"]
    best = torch.tensor([[placed["places"][0]["lon"], placed["places"][0]["lat"]]])
    km = great_circle_km(best.double(), torch.tensor([[8.5, -47.25]], dtype=torch.float64))
    assert placed["error_km"] == pytest.approx(float(km), abs=0.01)
    assert [photo["error_km"] for photo in others] == [None, None]
    assert "no GPS coordinates" in others[0]["notes"][0]
    maps = [photo["map"] for photo in facts["photos"]]
    assert maps == ["placed.png", "unplaced.png", "unplaced-2.png"]  # none overwrites another
    for name in maps:
        with Image.open(tmp_path / "out" / name) as drawn:
            assert drawn.size == (1152, 612)


def test_the_terminal_says_the_same(run_folder, photos, tmp_path):
    out = tmp_path / "out"
    options = ("--grid", 1000, "--count", 3, "--no-maps")
    run = geolocate(run_folder, out, photos / "placed.jpg", photos / "broken.jpg", *options)
    assert run.exit_code == 0, run.output
    facts = json.loads((out / "results.json").read_text())
    (photo,) = facts["photos"]
    for place in photo["places"]:
        assert f"{place['lon']:.3f}" in run.stdout
    assert f"{photo['error_km']:,.1f} km from 1" in run.stdout
    assert "broken.jpg is text, not an image" in " ".join(run.stdout.split())
    assert facts["left_out"] == [
        {"photo": str(photos / "broken.jpg"), "reason": "is text, not an image"}
    ]
    with (out / "quarantine.csv").open(newline="") as file:
        assert [row["reason"] for row in csv.DictReader(file)] == ["is text, not an image"]
    assert not list(out.glob("*.png"))
    assert photo["map"] is None
    strict = geolocate(run_folder, out, photos / "placed.jpg", photos / "broken.jpg", "--strict")
    assert "1 photos were left out" in str(strict.exception)


def test_a_second_call_embeds_no_place(run_folder, photos, tmp_path, monkeypatch):
    sizes, embed = [], store_module._embedded

    def counted(model, lonlat):
        sizes.append(len(lonlat))
        return embed(model, lonlat)

    monkeypatch.setattr(store_module, "_embedded", counted)
    monkeypatch.setenv("GEOCSP_CACHE", str(tmp_path / "cache"))
    options = (photos / "unplaced.jpg", "--grid", 500, "--json", "--no-maps")
    first = facts_of(geolocate(run_folder, tmp_path / "out", *options))
    assert max(sizes) == len(grid_places(500))
    sizes.clear()
    assert facts_of(geolocate(run_folder, tmp_path / "out", *options)) == first
    assert max(sizes) < 100  # a few, to see that the cache is of this model


def test_answers_are_apart_and_on_land(run_folder, photos, tmp_path):
    options = ("--grid", 300, "--apart", 1500, "--count", 6, "--land", "--json", "--no-maps")
    facts = facts_of(geolocate(run_folder, tmp_path / "out", photos / "unplaced.jpg", *options))
    (photo,) = facts["photos"]
    places = torch.tensor([(place["lon"], place["lat"]) for place in photo["places"]])
    km = great_circle_km(places.repeat_interleave(6, 0), places.repeat(6, 1)).view(6, 6)
    assert bool((km + 1e9 * torch.eye(6) >= 1499).all())
    assert 0.2 < facts["places"] / len(grid_places(300)) < 0.4
    shares = [place["probability"] for place in photo["places"]]
    assert shares == sorted(shares, reverse=True)


def test_a_gallery_may_be_a_table(run_folder, photos, tmp_path):
    lonlat = np.array([[8.0, -47.0], [100.0, 20.0], [8.0, -47.0]])
    rows = [f"{lon},{lat}" for lon, lat in lonlat.tolist()]
    (tmp_path / "places.csv").write_text("\n".join(["lon,lat", *rows]))
    options = ("--gallery", tmp_path / "places.csv", "--json")
    facts = facts_of(geolocate(run_folder, tmp_path / "out", photos / "placed.jpg", *options))
    (photo,) = facts["photos"]
    assert {(place["lon"], place["lat"]) for place in photo["places"]} == {(8, -47), (100, 20)}
    assert sum(place["probability"] for place in photo["places"]) == pytest.approx(1)
    assert facts["settings"]["grid_km"] is None


@pytest.mark.parametrize("index", ["faiss", "lancedb"])
def test_an_index_gives_nearly_the_same(run_folder, photos, tmp_path, index):
    options = (photos / "placed.jpg", "--grid", 400, "--count", 1, "--json", "--apart", 2000)
    exact = facts_of(geolocate(run_folder, tmp_path / "a", *options, "--no-maps"))
    found = facts_of(geolocate(run_folder, tmp_path / "b", *options, "--index", index))
    one, other = (facts["photos"][0]["places"][0] for facts in (exact, found))
    assert (one["lon"], one["lat"]) == (other["lon"], other["lat"])
    assert (tmp_path / "b" / "placed.png").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("broken.jpg",), "broken.jpg is text, not an image"),
        (("none.jpg",), "none.jpg cannot be read: No such file"),
        ((".",), "is a folder, not a file"),
        (("bomb.png",), "could fill the memory"),
        (("placed.jpg", "--grid", "0.5"), "must be in 1..5000 km"),
        (("placed.jpg", "--grid", "50", "--gallery", "x.csv"), "not both"),
        (("placed.jpg", "--land", "--gallery", "x.csv"), "--land goes with --grid"),
        (("placed.jpg", "--gallery", "none.csv"), "does not exist"),
        (("placed.jpg", "--index", "annoy"), "annoy"),
        (("placed.jpg", "--count", "0"), "--count"),
        (("placed.jpg", "--model", "nowhere"), "nowhere does not exist"),
        ((), "Missing argument"),
    ],
)
def test_wrong_use_is_one_clear_line(
    run_folder, photos, tmp_path, arguments, message, monkeypatch, capsys
):
    (photos / "bomb.png").write_bytes(huge_png(100_000, 100_000))
    monkeypatch.chdir(photos)
    model = () if "--model" in arguments else ("-m", run_folder)
    told = fails((*arguments, *model, "-o", tmp_path / "out"), monkeypatch, capsys)
    assert message in " ".join(told.replace("│", " ").split())


def test_a_model_without_an_image_encoder_says_so(photos, tmp_path, monkeypatch, capsys):
    location = geocsp.create("location", "sphere2vec-spherec", dim=16)
    folders = [
        GeoModel(location, 8).save_pretrained(tmp_path / "features"),
        location.save_pretrained(tmp_path / "location"),
    ]
    for folder in folders:
        arguments = (photos / "placed.jpg", "-m", folder, "-o", tmp_path / "out")
        told = fails(arguments, monkeypatch, capsys)
        assert "image" in told
        assert str(folder) in told
