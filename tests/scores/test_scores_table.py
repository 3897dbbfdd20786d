import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch

import geocsp
from geocsp import GeoPrior
from geocsp.coords import sample_sphere
from geocsp.data.options import Columns
from geocsp.errors import DataError
from geocsp.predict import ScoreKind
from geocsp.scores import PredictOptions, ScoreOptions, ScoreTable, predict, read_places
from geocsp.scores import blocks as sizes

CLASSES = ["ant", "bee", "cow", "dog", "elk", "fly"]
COUNT = 50
GENERATOR = torch.Generator().manual_seed(3)
PLACES = sample_sphere(COUNT, GENERATOR).double().numpy()
IMAGE = torch.rand(COUNT, 6, generator=GENERATOR, dtype=torch.float64).softmax(dim=1).numpy()
LABELS = [CLASSES[n % 6] for n in range(COUNT)]


@pytest.fixture(scope="module")
def prior():
    torch.manual_seed(0)
    return GeoPrior(geocsp.create("location", "wrap", dim=8), CLASSES)


def frame():
    shuffled = [CLASSES[n] for n in (4, 2, 0, 5, 1, 3)]
    table = pd.DataFrame(IMAGE, columns=CLASSES)[shuffled]
    table.insert(2, "Longitude", PLACES[:, 0])
    table.insert(0, "latitude", PLACES[:, 1])
    table.insert(0, "observation_id", [f"o{n}" for n in range(COUNT)])
    table["species"] = LABELS
    return table


def expected(prior, image=IMAGE, places=PLACES):
    """The product of the formula, in plain NumPy."""
    here = ~np.isnan(places).any(1)
    place = np.ones_like(image)
    scores = prior.class_scores(torch.from_numpy(places[here])).double().numpy()
    place[here] = 1 / (1 + np.exp(-scores))
    product = image * place
    return product / product.sum(1, keepdims=True)


def predicted(source, prior, tmp_path, options=None, **wanted):
    table = ScoreTable(str(source), prior, options or ScoreOptions())
    output = tmp_path / "out" / "predictions.parquet"
    done = predict(table, prior, output, options=PredictOptions(every_class=True, **wanted))
    return done, pq.read_table(output).to_pandas()


def check(found, prior, *, image=IMAGE, places=PLACES):
    wanted = expected(prior, image, places)
    np.testing.assert_allclose(found[CLASSES].to_numpy(), wanted, rtol=2e-5, atol=1e-7)
    for prefix, said in (("image_", image / image.sum(1, keepdims=True)), ("", wanted)):
        order = np.argsort(-said, axis=1)
        for rank in range(5):
            names = [CLASSES[n] for n in order[:, rank]]
            assert list(found[f"{prefix}class_{rank + 1}"]) == names
            np.testing.assert_allclose(
                found[f"{prefix}probability_{rank + 1}"],
                np.take_along_axis(said, order[:, [rank]], 1)[:, 0],
                rtol=2e-5,
            )


def test_parquet_with_columns_in_any_order(prior, tmp_path):
    frame().to_parquet(tmp_path / "scores.parquet")
    done, found = predicted(tmp_path / "scores.parquet", prior, tmp_path)
    check(found, prior)
    assert list(found.columns[:5]) == ["id", "lon", "lat", "placed", "label"]
    assert list(found["id"]) == [f"o{n}" for n in range(COUNT)]
    assert list(found["label"]) == LABELS
    np.testing.assert_array_equal(found[["lon", "lat"]], PLACES)
    assert (done.rows, done.placed, done.left_out, done.labelled) == (COUNT, COUNT, 0, COUNT)
    changed = IMAGE.argmax(1) != expected(prior).argmax(1)
    assert done.changed == changed.sum() > 0
    numbers = np.array([CLASSES.index(name) for name in LABELS])
    for name, said in (("image", IMAGE), ("fused", expected(prior))):
        ranked = np.argsort(-said, axis=1)
        assert done.metrics[name]["top1"] == pytest.approx((ranked[:, 0] == numbers).mean())
        top5 = (ranked[:, :5] == numbers[:, None]).any(1).mean()
        assert done.metrics[name]["top5"] == pytest.approx(top5)
    assert not list((tmp_path / "out").glob("*quarantine*"))


def test_blocks_do_not_change_anything(prior, tmp_path, monkeypatch):
    frame().to_parquet(tmp_path / "scores.parquet")
    frame().to_csv(tmp_path / "scores.csv", index=False)
    monkeypatch.setattr(sizes, "_CELLS", 7 * 6)
    for name in ("scores.parquet", "scores.csv"):
        done, found = predicted(tmp_path / name, prior, tmp_path)
        check(found, prior)
        assert list(found["id"]) == [f"o{n}" for n in range(COUNT)]
        assert done.rows == COUNT


def test_csv_and_a_folder_of_parquet(prior, tmp_path):
    frame().to_csv(tmp_path / "scores.csv", index=False)
    check(predicted(tmp_path / "scores.csv", prior, tmp_path)[1], prior)
    (tmp_path / "parts").mkdir()
    frame()[:20].to_parquet(tmp_path / "parts" / "a.parquet")
    frame()[20:].to_parquet(tmp_path / "parts" / "b.parquet")
    done, found = predicted(tmp_path / "parts", prior, tmp_path)
    check(found, prior)
    assert done.rows == COUNT


def test_logits_of_half_precision(prior, tmp_path):
    logits = np.log(IMAGE).astype(np.float16)
    table = frame()
    table[CLASSES] = logits
    table.to_parquet(tmp_path / "scores.parquet")
    options = ScoreOptions(kind=ScoreKind.LOGITS)
    _, found = predicted(tmp_path / "scores.parquet", prior, tmp_path, options)
    exact = np.exp(logits.astype(np.float64))
    wanted = expected(prior, exact / exact.sum(1, keepdims=True))
    np.testing.assert_allclose(found[CLASSES].to_numpy(), wanted, rtol=2e-5)


def test_npz_brings_all_it_needs(prior, tmp_path):
    order = [3, 1, 0, 2, 5, 4]
    for kind, name in ((np.float32, "c.npz"), (np.float64, "f.npz")):
        scores = np.asarray(IMAGE[:, order], kind, order="F" if name == "f.npz" else "C")
        np.savez(
            tmp_path / name,
            scores=scores,
            classes=np.array([CLASSES[n] for n in order]),
            lonlat=PLACES,
            id=np.arange(COUNT) + 100,
            label=np.array(LABELS),
        )
        done, found = predicted(tmp_path / name, prior, tmp_path)
        check(found, prior)
        assert list(found["id"]) == list(range(100, 100 + COUNT))
        assert done.labelled == COUNT


def test_npy_with_a_file_of_names_and_a_table_of_places(prior, tmp_path):
    order = [3, 1, 0, 2, 5, 4]
    np.save(tmp_path / "scores.npy", IMAGE[:, order])
    (tmp_path / "names.txt").write_text("\n".join(CLASSES[n] for n in order) + "\n")
    frame()[["observation_id", "Longitude", "latitude"]].to_csv(tmp_path / "p.csv", index=False)
    options = ScoreOptions(classes=tmp_path / "names.txt", places=tmp_path / "p.csv")
    _, found = predicted(tmp_path / "scores.npy", prior, tmp_path, options)
    check(found, prior)
    assert list(found["id"]) == [f"o{n}" for n in range(COUNT)]


def test_columns_of_an_array_without_names_are_named_by_number(tmp_path):
    torch.manual_seed(0)
    numbered = GeoPrior(geocsp.create("location", "wrap", dim=8), 6)
    np.savez(tmp_path / "s.npz", scores=IMAGE, lonlat=PLACES)
    done, found = predicted(tmp_path / "s.npz", numbered, tmp_path, top=1)
    np.testing.assert_allclose(found[[*"012345"]].to_numpy(), expected(numbered), rtol=2e-5)
    assert list(found["id"]) == list(range(COUNT))
    assert done.labelled == 0
    assert done.metrics == {}
    assert "label" not in found.columns


def test_without_a_place_the_image_answers_and_bad_rows_are_listed(prior, tmp_path):
    table = frame()
    places, image = PLACES.copy(), IMAGE.copy()
    table.loc[3, "Longitude"] = places[3, 0] = np.nan
    table.loc[5, "latitude"] = 95.0
    places[5] = np.nan
    table.loc[7, "bee"] = -0.5
    table.loc[9, CLASSES] = 0.0
    table.loc[11, "cow"] = np.nan
    table.to_parquet(tmp_path / "scores.parquet")
    done, found = predicted(tmp_path / "scores.parquet", prior, tmp_path)
    kept = [n for n in range(COUNT) if n not in (7, 9, 11)]
    check(found, prior, image=image[kept], places=places[kept])
    assert list(found["id"]) == [f"o{n}" for n in kept]
    assert list(np.flatnonzero(~found["placed"])) == [3, 5]
    assert list(np.flatnonzero(found["lat"].isna())) == [3, 5]
    assert (done.rows, done.placed, done.left_out) == (COUNT - 3, COUNT - 5, 3)
    assert any("latitude 95 is outside" in note for note in done.notes)
    listed = pd.read_csv(tmp_path / "out" / "predictions.quarantine.csv")
    assert list(listed["row"]) == [7, 9, 11]
    assert listed["reason"].str.contains("must be finite, >= 0 and not all zero").all()


def test_broken_cells_and_rows_of_text(prior, tmp_path):
    lines = frame().to_csv(index=False).splitlines()
    heading = lines[0].split(",")
    cells = lines[3].split(",")
    cells[heading.index("bee")] = "much"
    lines[3] = ",".join(cells)
    lines.insert(5, "too,short")
    (tmp_path / "scores.csv").write_text("\n".join(lines))
    done, found = predicted(tmp_path / "scores.csv", prior, tmp_path)
    kept = [n for n in range(COUNT) if n != 2]
    check(found, prior, image=IMAGE[kept], places=PLACES[kept])
    listed = pd.read_csv(tmp_path / "out" / "predictions.quarantine.csv").sort_values("row")
    assert list(listed["row"]) == [2, 4]
    assert "the score of 'bee' is 'much', not a number" in listed["reason"].iloc[0]
    assert "has 2 cells where the heading has 10" in listed["reason"].iloc[1]
    assert done.left_out == 2


def test_times_reach_a_prior_that_takes_them(tmp_path):
    torch.manual_seed(0)
    encoder = geocsp.create("location", "wrap", dim=8, date_harmonics=2)
    seasonal = GeoPrior(encoder, CLASSES)
    table = frame()
    months = [f"2024-{1 + n % 12:02}-15" for n in range(COUNT)]
    table["observed_on"] = months
    table.to_parquet(tmp_path / "scores.parquet")
    _, found = predicted(tmp_path / "scores.parquet", seasonal, tmp_path)
    time = geocsp.times_of(months)
    fused = geocsp.fuse(IMAGE, seasonal, PLACES, time=time)
    np.testing.assert_allclose(found[CLASSES].to_numpy(), fused, rtol=2e-5)
    assert not np.allclose(fused, geocsp.fuse(IMAGE, seasonal, PLACES), rtol=1e-3)


def test_labels_that_are_no_class_do_not_count(prior, tmp_path):
    table = frame()
    table.loc[:9, "species"] = "unicorn"
    table.loc[10, "species"] = None
    table.to_parquet(tmp_path / "scores.parquet")
    done, _ = predicted(tmp_path / "scores.parquet", prior, tmp_path)
    assert done.labelled == COUNT - 11
    assert any(note.startswith("10 labels are no class") for note in done.notes)


def test_a_class_may_be_named_like_a_role(tmp_path):
    names = ["lat", "date", "label"]
    torch.manual_seed(0)
    odd = GeoPrior(geocsp.create("location", "wrap", dim=8), names)
    table = pd.DataFrame(IMAGE[:, :3], columns=names)
    table["easting"], table["northing"] = PLACES.T
    table.to_parquet(tmp_path / "scores.parquet")
    scores = ScoreTable(str(tmp_path / "scores.parquet"), odd, ScoreOptions())
    done = predict(scores, odd, tmp_path / "out.csv", options=PredictOptions(top=3))
    assert (done.rows, done.labelled) == (COUNT, 0)
    found = pd.read_csv(tmp_path / "out.csv")
    fused = expected(odd, IMAGE[:, :3])
    assert list(found["class_1"]) == [names[n] for n in fused.argmax(1)]
    with pytest.raises(DataError, match="class 'label' has the name of another column"):
        predict(scores, odd, tmp_path / "out.csv", options=PredictOptions(every_class=True))


def test_unused_columns_are_told(prior, tmp_path):
    frame().assign(gnu=0.5, hen=0.1).to_parquet(tmp_path / "scores.parquet")
    done, _ = predicted(tmp_path / "scores.parquet", prior, tmp_path)
    assert "columns that are no class of the prior are not used: gnu, hen" in done.notes


def write(table, path):
    table.to_parquet(path) if path.suffix == ".parquet" else table.to_csv(path, index=False)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda f, p: write(f.drop(columns="bee"), p / "s.csv"), "lacks 1 of .* 'bee'"),
        (lambda f, p: write(f.drop(columns="latitude"), p / "s.csv"), "no column lat.*--places"),
        (lambda f, p: write(f.assign(bee="x"), p / "s.parquet"), "'bee' of scores holds .*string"),
        (lambda f, p: (p / "s.csv").write_bytes(b"\0\1\2"), "binary"),
        (lambda f, p: (p / "s.parquet").write_bytes(b"PAR1"), "damaged or no Parquet"),
        (lambda f, p: (p / "s.npy").write_bytes(b"no"), "s.npy cannot be read"),
        (lambda f, p: np.save(p / "s.npy", np.array([{}]), allow_pickle=True), "cannot be read"),
        (lambda f, p: np.save(p / "s.npy", IMAGE[:, 0]), r"must be numbers \(N, classes\)"),
        (lambda f, p: np.savez(p / "s.npz", a=IMAGE, b=IMAGE), "no array 'scores'.* a, b"),
        (lambda f, p: np.savez(p / "s.npz", scores=IMAGE, id=[1]), "'id' has 1 rows, not 50"),
        (lambda f, p: np.savez(p / "s.npz", IMAGE, classes=["a"]), "6 columns of scores, but 1 na"),
        (lambda f, p: np.savez(p / "s.npz", scores=IMAGE), "lacks 6 of .* columns are 0, 1, 2"),
        (lambda f, p: (p / "s.txt.doc").write_text("x"), "scores are read from .parquet"),
        (lambda f, p: write(f[:0], p / "s.csv"), "no row can be used"),
        (
            lambda f, p: write(f.assign(bee=-1.0), p / "s.csv"),
            "no row can be used; the first: .* 0",
        ),
    ],
)
def test_what_cannot_be_used_is_told_and_leaves_nothing(prior, tmp_path, make, message):
    make(frame(), tmp_path)
    (source,) = tmp_path.iterdir()
    output = tmp_path / "out" / "p.parquet"
    with pytest.raises(DataError, match=message):
        predict(ScoreTable(str(source), prior, ScoreOptions()), prior, output)
    assert not output.exists()
    assert not list(tmp_path.glob("out/*"))


def test_a_missing_file_and_wrong_options(prior, tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        ScoreTable(str(tmp_path / "none.xyz"), prior, ScoreOptions())
    frame().to_csv(tmp_path / "s.csv", index=False)
    (tmp_path / "names.txt").write_text("a")
    options = ScoreOptions(classes=tmp_path / "names.txt")
    with pytest.raises(DataError, match="names its columns itself"):
        ScoreTable(str(tmp_path / "s.csv"), prior, options)
    with pytest.raises(DataError, match="no column 'key' to identify rows"):
        ScoreTable(str(tmp_path / "s.csv"), prior, ScoreOptions(identity="key"))
    with pytest.raises(DataError, match="no column 'east' for lon"):
        ScoreTable(str(tmp_path / "s.csv"), prior, ScoreOptions(columns=Columns(lon="east")))
    table = ScoreTable(str(tmp_path / "s.csv"), prior, ScoreOptions())
    with pytest.raises(DataError, match=r"end in \.parquet or \.csv"):
        predict(table, prior, tmp_path / "p.json")
    with pytest.raises(ValueError, match="at least one class"):
        PredictOptions(top=0)


@pytest.mark.parametrize("ending", ["npy", "csv"])
@pytest.mark.parametrize("rows", [COUNT - 1, COUNT + 1])
def test_places_of_other_rows_are_refused(prior, tmp_path, rows, ending):
    np.save(tmp_path / "s.npy", IMAGE)
    frame()[CLASSES].to_csv(tmp_path / "s.csv", index=False)
    (tmp_path / "names.txt").write_text("\n".join(CLASSES))
    lon = np.linspace(-90, 90, rows)
    pd.DataFrame({"lon": lon, "lat": lon / 2}).to_csv(tmp_path / "p.csv", index=False)
    names = tmp_path / "names.txt" if ending == "npy" else None
    options = ScoreOptions(classes=names, places=tmp_path / "p.csv")
    with pytest.raises(DataError, match=f"p.csv has {rows} rows, .*s.{ending} has 50"):
        predicted(tmp_path / f"s.{ending}", prior, tmp_path, options)
    assert not list((tmp_path).glob("out/*"))


def test_places_of_support(tmp_path):
    frame().assign(latitude=[*PLACES[:-1, 1], np.nan]).to_csv(tmp_path / "t.csv", index=False)
    places = read_places(tmp_path / "t.csv", ScoreOptions())
    np.testing.assert_allclose(places.numpy(), PLACES[:-1])
