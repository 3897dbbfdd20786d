import math
import resource

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from geocsp.coords import great_circle_km, sample_sphere
from geocsp.errors import DataError
from geocsp.evaluate import retrieval
from geocsp.evaluate.retrieval import Retrieval, retrieve


def embeddings(rows, seed, dim=6):
    drawn = torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed))
    return F.normalize(drawn.double(), dim=1)


def places(rows, seed):
    return sample_sphere(rows, torch.Generator().manual_seed(seed)).double()


def slow(queries, query_lonlat, answers, answer_lonlat):
    above, level, km = [], [], []
    for i in range(len(queries)):
        scores = [float(queries[i] @ answers[j]) for j in range(len(answers))]
        right = [bool((query_lonlat[i] == place).all()) for place in answer_lonlat]
        own = max(s for s, r in zip(scores, right, strict=True) if r)
        wrong = [s for s, r in zip(scores, right, strict=True) if not r]
        above.append(sum(s > own + 1e-12 for s in wrong))
        level.append(sum(abs(s - own) <= 1e-12 for s in wrong))
        best = scores.index(max(scores))
        km.append(float(great_circle_km(query_lonlat[i : i + 1], answer_lonlat[best : best + 1])))
    return above, level, km


def check(found, expected):
    above, level, km = expected
    assert found.above.tolist() == above
    assert found.level.tolist() == level
    assert torch.allclose(found.km, torch.tensor(km, dtype=torch.float64), atol=1e-9)


@pytest.mark.parametrize("scores", [2**24, 40, 1], ids=["whole", "chunks", "row by row"])
def test_as_a_slow_loop_finds(monkeypatch, scores):
    monkeypatch.setattr(retrieval, "_SCORES", scores)
    sites = places(9, 0)
    shown = torch.randint(9, (25,), generator=torch.Generator().manual_seed(1))
    shown[:9] = torch.arange(9)
    queries, answers = embeddings(25, 2), embeddings(9, 3)
    arguments = queries, sites[shown], answers, sites
    check(retrieve(*arguments), slow(*arguments))
    back = answers, sites, queries, sites[shown]  # several right answers for one query
    check(retrieve(*back), slow(*back))


def test_equal_scores_are_shared_as_in_a_slow_loop():
    sites = places(12, 0)
    answers = embeddings(4, 1).repeat(3, 1)  # every embedding three times
    arguments = answers, sites, answers, sites
    found = retrieve(*arguments)
    check(found, slow(*arguments))
    assert found.above.tolist() == [0] * 12
    assert found.level.tolist() == [2] * 12
    assert found.rank.tolist() == [2.0] * 12
    assert found.recall(1) == pytest.approx(1 / 3)
    assert found.recall(2) == pytest.approx(2 / 3)
    assert found.recall(3) == 1


def test_a_perfect_model():
    sites, vectors = places(50, 0), embeddings(50, 1)
    assert retrieve(vectors, sites, vectors, sites).metrics() == {
        "R@1": 1.0,
        "R@5": 1.0,
        "R@10": 1.0,
        "median_rank": 1.0,
        "median_km": 0.0,
        "mean_km": 0.0,
    }


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_constant_embedding_does_as_well_as_guessing(dtype):
    sites = places(997, 0)
    images = embeddings(997, 1, dim=256).to(dtype)
    constant = embeddings(1, 2, dim=256).to(dtype).expand(997, -1)
    for one in (retrieve(images, sites, constant, sites), retrieve(constant, sites, images, sites)):
        assert one.km.median() > 5000
    found = retrieve(images, sites, constant, sites)
    assert found.above.eq(0).all()
    assert found.level.eq(996).all()
    assert torch.allclose(found.km, great_circle_km(sites, sites[:1]))  # the first of equals
    metrics = found.metrics()
    assert metrics["median_rank"] == 499
    for count in (1, 5, 10):
        assert metrics[f"R@{count}"] == pytest.approx(count / 997)


def test_a_small_gallery_gives_a_constant_embedding_no_advantage():
    sites, constant = places(12, 0), embeddings(1, 0).expand(12, -1)
    assert retrieve(constant, sites, constant, sites).recall(10) == pytest.approx(10 / 12)


def test_answers_at_the_same_place_do_not_compete():
    site, other = [[8.0, 47.0]], [[9.0, 47.0]]
    query = torch.tensor([[1.0, 0.0]])
    answers = torch.tensor([[0.6, 0.8], [0.8, 0.6], [0.0, 1.0]])
    found = retrieve(query, torch.tensor(site), answers, torch.tensor(site * 2 + other))
    assert (found.above.item(), found.level.item(), found.km.item()) == (0, 0, 0.0)
    crowd = retrieve(query, torch.tensor(other), answers, torch.tensor(site * 2 + other))
    assert crowd.above.item() == 2  # each wrong answer counts
    assert crowd.km.item() == pytest.approx(75.83, abs=0.05)


def test_one_place_written_in_two_ways_is_one_place():
    written = torch.tensor([[180.0, 10.0], [5.0, 90.0], [0.0, 0.0]])
    again = torch.tensor([[-180.0, 10.0], [-60.0, 90.0], [-0.0, -0.0]])
    assert retrieve(torch.eye(3), written, torch.eye(3), again).recall(1) == 1


def test_medians_are_of_the_middle_two():
    found = Retrieval(
        above=torch.tensor([0, 1, 4, 20]),
        level=torch.tensor([0, 0, 1, 0]),
        km=torch.tensor([0.0, 10.0, 30.0, 1000.0]).double(),
    )
    assert found.rank.tolist() == [1, 2, 5.5, 21]
    assert found.metrics() == {
        "R@1": 0.25,
        "R@5": (1 + 1 + 0.5) / 4,
        "R@10": 0.75,
        "median_rank": 3.75,
        "median_km": 20.0,
        "mean_km": 260.0,
    }


def test_what_cannot_be_ranked_is_refused():
    sites, vectors = places(5, 0), embeddings(5, 1)
    with pytest.raises(DataError, match="need a place for each of the answers: 5 and 4"):
        retrieve(vectors, sites, vectors, sites[:4])
    with pytest.raises(DataError, match=r"no answer is at the place of query 4 \(lon "):
        retrieve(vectors, sites, vectors[:4], sites[:4])
    broken = vectors.clone()
    broken[3, 2] = math.nan
    with pytest.raises(DataError, match="queries of row 3 are not finite"):
        retrieve(broken, sites, vectors, sites)
    with pytest.raises(ValueError, match="lonlat of queries row 0 "):
        retrieve(vectors, sites + 300, vectors, sites)


def test_memory_does_not_grow_with_queries_times_answers(monkeypatch):
    monkeypatch.setattr(retrieval, "_SCORES", 2**20)  # 4 MB in each of 138 parts
    rows = 12_000  # 576 MB of scores
    sites, vectors = places(rows, 0), embeddings(rows, 1, dim=8).float()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = retrieve(vectors, sites, vectors, sites)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000
    assert np.isclose(found.recall(1), 1, atol=1e-3)
