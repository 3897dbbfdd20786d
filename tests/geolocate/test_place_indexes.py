import builtins
import warnings
from functools import partial

import pytest
import torch
from torch.nn import functional as F

import geocsp
from geocsp.coords import sample_sphere
from geocsp.errors import DataError, MissingExtraError
from geocsp.geolocate import Gallery, Index, approximate, beside, geolocate
from geocsp.geolocate.ranking import Scores
from geocsp.geolocate.store import PlaceStore
from geocsp.model import GeoModel

KINDS = [Index.FAISS, Index.LANCEDB]
COUNT = 12_000


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    encoder = geocsp.create("location", "sphere2vec-spherec", dim=16)
    return GeoModel(encoder, 6, temperature=0.05).eval()


@pytest.fixture(scope="module", autouse=True)
def _own_folder(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GEOCSP_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def _few_candidates(monkeypatch):
    """So few that an index has to find the right ones."""
    monkeypatch.setattr(approximate, "CANDIDATES", 300)
    monkeypatch.setattr(approximate, "_SAMPLE", 2000)


def clustered(rows, centres, seed):
    generator = torch.Generator().manual_seed(seed)
    middle = torch.randn(centres, 16, generator=torch.Generator().manual_seed(9))
    which = torch.randint(centres, (rows,), generator=generator)
    spread = 0.1 * torch.randn(rows, 16, generator=generator)
    return F.normalize(F.normalize(middle, dim=1)[which] + spread, dim=1)


@pytest.fixture(scope="module")
def gallery(model, tmp_path_factory):
    """A gallery whose embeddings are in clusters."""
    lonlat = sample_sphere(COUNT, torch.Generator().manual_seed(1)).double()
    folder = tmp_path_factory.mktemp("store")
    store = PlaceStore(folder, COUNT, 16)
    store.__dict__["parts"] = clustered(COUNT, 60, 1).split(5000)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PlaceStore, "shard_rows", property(lambda self: 5000))
        yield Gallery(lonlat, store, 20.0)


@pytest.fixture(params=KINDS)
def searched(request, gallery):
    return request.param.over(gallery)


def recall(found, expected):
    same = (found.lonlat[:, :, None] == expected.lonlat[:, None]).all(-1)
    return float(same.any(2).double().mean())


@pytest.mark.parametrize("count", [1, 10, 100])
def test_nearly_all_of_the_exact_answers_are_found(searched, gallery, count):
    queries = clustered(50, 60, 2)
    found, expected = searched.search(queries, count), gallery.search(queries, count)
    assert recall(found, expected) > 0.95
    both = (found.lonlat == expected.lonlat).all(-1)
    torch.testing.assert_close(found.scores[both], expected.scores[both], rtol=0, atol=1e-6)
    ratio = found.probabilities[both] / expected.probabilities[both]
    assert ratio.min() > 0.9
    assert ratio.max() < 1.1  # estimates: what no candidate holds is known from a sample
    assert bool((found.scores.diff(dim=1) <= 1e-6).all())


def test_answers_apart_are_nearly_those_of_the_exact_search(searched, gallery):
    queries = clustered(50, 60, 3)
    found, expected = (one.search(queries, 3, apart_km=300) for one in (searched, gallery))
    assert recall(found, expected) > 0.8  # the order is by what lies around, of which part is seen
    assert bool((found.probabilities <= expected.probabilities[:, :1] * 1.1).all())


def test_probabilities_of_candidates_and_the_sample_are_those_of_all_places(searched, gallery):
    queries = clustered(5, 60, 4)
    for scores in searched.scores(queries):
        assert float(scores.stands_for.sum()) == pytest.approx(COUNT)
        assert len(scores.rows.unique()) == len(scores.rows)
        torch.testing.assert_close(
            scores.probabilities().sum(), torch.tensor(1.0, dtype=torch.float64)
        )


def test_places_that_stand_for_others_are_no_answers(gallery):
    values = torch.tensor([0.1, 0.2, 0.9])
    scores = Scores(torch.tensor([5, 7, 9]), values, 1.0, torch.tensor([1.0, 1.0, 3.0]))
    found = gallery.regions(scores, 3, 0.0)
    assert found.rows.tolist() == [7, 5]
    expected = values.double().exp() * torch.tensor([1.0, 1.0, 3.0])
    torch.testing.assert_close(scores.probabilities(), expected / expected.sum())


@pytest.mark.parametrize("kind", KINDS)
def test_an_index_is_built_once_and_again_if_it_is_damaged(kind, gallery, monkeypatch):
    kind.over(gallery)
    (folder,) = gallery.store.folder.glob(f"index-{kind}-*")
    with monkeypatch.context() as patch:
        patch.setattr(beside, "_build", lambda *_: pytest.fail("it is there"))
        kind.over(gallery)
    largest = max(
        (path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size
    )
    largest.write_bytes(largest.read_bytes()[:-500])
    with pytest.warns(UserWarning, match="is damaged; made again"):
        again = kind.over(gallery)
    queries = clustered(20, 60, 5)
    assert recall(again.search(queries, 5), gallery.search(queries, 5)) > 0.95
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kind.over(gallery)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [1, 5, 60])
def test_a_small_gallery_is_searched_exactly(kind, count, model):
    lonlat = sample_sphere(count, torch.Generator().manual_seed(2)).double()
    exact = Gallery.of(model, lonlat)
    images = torch.randn(4, 6, generator=torch.Generator().manual_seed(3))
    found = geolocate(model, images, kind.over(exact), count)
    expected = geolocate(model, images, exact, count)
    assert torch.equal(found.lonlat, expected.lonlat)
    torch.testing.assert_close(found.probabilities, expected.probabilities, rtol=1e-5, atol=1e-9)


def test_the_exact_search_is_the_gallery_itself(gallery):
    assert Index.EXACT.over(gallery) is gallery


@pytest.mark.parametrize(("kind", "package"), [(Index.FAISS, "faiss"), (Index.LANCEDB, "lancedb")])
def test_a_missing_library_names_the_extra(kind, package, gallery, monkeypatch):
    genuine = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name == package:
            raise ImportError(name)
        return genuine(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(MissingExtraError, match=rf"{package}.*geocsp\[search\]"):
        kind.over(gallery)


def test_bad_queries_are_refused_as_by_the_exact_search(searched):
    search = partial(searched.search, clustered(3, 60, 6))
    with pytest.raises(DataError, match=r"1\.\.12000"):
        search(COUNT + 1)
    with pytest.raises(DataError, match="gallery is of another model"):
        searched.search(torch.zeros(3, 5))
