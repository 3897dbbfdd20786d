import asyncio
import gzip
import json
import socket
import threading
import time
from concurrent.futures import CancelledError, ThreadPoolExecutor

import httpx
import numpy as np
import pytest
import torch
from app_model import CLASSES, classifier, geo_model, location, prior
from app_server import SETTINGS, serving
from fastapi.testclient import TestClient
from synthetic_results import ROWS, SyntheticRow, write_results
from torch.nn import functional as F

import geocsp
from geocsp.app.cache import ByteCache
from geocsp.app.create import create_app
from geocsp.app.explorer import AppSettings, Explorer
from geocsp.app.worker import BusyError, Worker
from geocsp.coords import great_circle_km
from geocsp.errors import DataError
from geocsp.evaluate.geolocation import grid_places
from geocsp.evaluate.results import Regime
from geocsp.maps.natural_earth import Detail, on_land
from geocsp.models import fingerprint_of


@pytest.fixture(scope="module")
def api(app_url):
    with httpx.Client(base_url=app_url, timeout=60) as client:
        yield client


def detail(response, code):
    """The line of an error."""
    assert response.status_code == code, response.text
    said = response.json()
    assert list(said) == ["detail"]
    assert isinstance(said["detail"], str)
    assert "\n" not in said["detail"]
    assert "Traceback" not in said["detail"]
    return said["detail"]


def test_health(api):
    assert api.get("/api/health").json() == {"status": "ok"}


def test_info(api):
    assert api.get("/api/info").json() == {
        "name": "zones",
        "version": geocsp.__version__,
        "kind": "GeoClassifier",
        "classes": list(CLASSES),
        "has_images": True,
        "has_prior": True,
        "has_report": False,
        "layers": ["class", "embedding", "uncertainty", "similar"],
        "max_upload_bytes": SETTINGS.max_upload_bytes,
        "takes_time": False,
        "fingerprint": fingerprint_of(classifier()),
        "card": None,
    }


def test_place(api):
    lon, lat = 12.5, -3.25
    said = api.get("/api/place", params={"lon": lon, "lat": lat, "count": 3}).json()
    at = torch.tensor([[lon, lat]], dtype=torch.float64)
    expected = classifier().class_probabilities(at)[0]
    best = expected.argsort(descending=True)[:3].tolist()
    assert [entry["name"] for entry in said["classes"]] == [list(CLASSES)[i] for i in best]
    shown = [entry["probability"] for entry in said["classes"]]
    assert shown == pytest.approx(expected[best].tolist(), abs=2e-6)
    assert (said["lon"], said["lat"], said["nearest"]) == (lon, lat, None)
    shares = expected / expected.sum()
    entropy = float(-(shares * shares.log()).sum() / np.log(len(CLASSES)))
    assert said["uncertainty"] == pytest.approx(entropy, abs=1e-3)
    assert len(said["colour"]) == 7
    int(said["colour"][1:], 16)


@pytest.mark.parametrize("at", [(180, 90), (-180, -90), (180, 0), (0, 90)])
def test_places_at_the_edges(api, at):
    said = api.get("/api/place", params={"lon": at[0], "lat": at[1]}).json()
    assert len(said["classes"]) == len(CLASSES)


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("lon=181&lat=0", "lon"),
        ("lon=0&lat=-90.5", "lat"),
        ("lon=nan&lat=0", "lon"),
        ("lon=0&lat=inf", "lat"),
        ("lon=0", "lat"),
        ("lon=east&lat=0", "lon"),
        ("lon=0&lat=0&count=0", "count"),
        ("lon=0&lat=0&count=101", "count"),
    ],
)
def test_places_that_are_none(api, query, named):
    for route in ("place", "similar"):
        assert detail(api.get(f"/api/{route}?{query}"), 422).startswith(f"{named}: ")


def test_similar_places(api):
    said = api.get("/api/similar", params={"lon": 20, "lat": 10, "count": 4}).json()["places"]
    model = classifier()
    lonlat = grid_places(SETTINGS.spacing_km)
    lonlat = lonlat[torch.from_numpy(on_land(lonlat.numpy(), Detail.LOW))]
    here = torch.tensor([[20.0, 10.0]], dtype=torch.float64)
    likeness = (F.normalize(model.embed(lonlat)) @ F.normalize(model.embed(here)).T)[:, 0]
    taken, expected = [here], []
    for row in likeness.argsort(descending=True).tolist():
        place = lonlat[row : row + 1]
        if all(float(great_circle_km(place, other)) >= 500 for other in taken):
            expected.append((*place[0].tolist(), float(likeness[row])))
            taken.append(place)
        if len(expected) == 4:
            break
    found = [(p["lon"], p["lat"], p["similarity"]) for p in said]
    np.testing.assert_allclose(found, expected, atol=2e-6)


def test_similar_places_may_run_out(api):
    said = api.get("/api/similar", params={"lon": 20, "lat": 10, "count": 100}).json()["places"]
    places = torch.tensor([[p["lon"], p["lat"]] for p in said], dtype=torch.float64)
    assert 50 < len(places) <= 100
    gaps = great_circle_km(
        places[:, None].expand(-1, len(places), -1).reshape(-1, 2), places.repeat(len(places), 1)
    ).view(len(places), -1)
    assert float((gaps + 1e9 * torch.eye(len(places))).min()) >= 500


def test_legends(api):
    savanna = api.get("/api/legend/class", params={"class": "savanna"}).json()
    assert savanna["title"] == "P(savanna | place)"
    assert (savanna["low"], savanna["high"]) == (0, 1)
    assert len(savanna["colours"]) == 9
    assert savanna["colours"][0] == "#440154"
    embedding = api.get("/api/legend/embedding").json()
    assert (embedding["low"], embedding["high"], embedding["colours"]) == (None, None, [])
    similar = api.get("/api/legend/similar").json()
    assert -1 <= similar["low"] < similar["high"] == 1
    assert api.get("/api/legend/uncertainty").json()["high"] == 1


def test_tiles_are_tagged_and_not_sent_twice(api):
    address = "/api/tiles/class/1/1/0.png?class=desert"
    first = api.get(address)
    assert first.headers["content-type"] == "image/png"
    assert first.headers["cache-control"] == "no-cache"
    assert first.content.startswith(b"\x89PNG")
    tag = first.headers["etag"]
    again = api.get(address, headers={"If-None-Match": f'"other", {tag}'})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    other = api.get(address.replace("desert", "tundra"), headers={"If-None-Match": tag})
    assert other.status_code == 200
    assert other.headers["etag"] != tag


@pytest.mark.parametrize(
    ("address", "code", "said"),
    [
        ("class/0/0/0.png", 422, "name a class"),
        ("class/0/0/0.png?class=dessert", 422, "did you mean 'desert'"),
        ("similar/0/0/0.png", 422, "name a place"),
        ("similar/0/0/0.png?lon=3", 422, "name a place"),
        ("similar/0/0/0.png?lon=3&lat=95", 422, "lat"),
        ("class/19/0/0.png?class=desert", 404, "no tile 19/0/0"),
        ("class/1/2/0.png?class=desert", 404, "no tile 1/2/0"),
        ("class/1/0/-1.png?class=desert", 404, "no tile 1/0/-1"),
        ("class/1/0/x.png?class=desert", 422, "y: "),
        ("moon/0/0/0.png", 422, "layer: "),
        ("class/0/0/0.jpg?class=desert", 404, "Not Found"),
    ],
)
def test_tiles_that_are_none(api, address, code, said):
    assert said in detail(api.get(f"/api/tiles/{address}"), code)


def test_land(api):
    packed = api.get("/api/land?detail=low", headers={"Accept-Encoding": "gzip"})
    plain = api.get("/api/land?detail=low", headers={"Accept-Encoding": "identity"})
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert packed.json() == plain.json()
    assert plain.json()["type"] == "FeatureCollection"
    medium = api.get("/api/land?detail=medium")
    assert len(medium.content) > 2 * len(plain.content)
    assert detail(api.get("/api/land?detail=high"), 422).startswith("detail: ")


def test_many_at_once_are_answered_as_one_by_one(api):
    generator = np.random.default_rng(0)
    asked = [
        (route, {"lon": float(lon), "lat": float(lat), "count": 5})
        for lon, lat in generator.uniform((-180, -90), (180, 90), (25, 2))
        for route in ("place", "similar")
    ]
    alone = [api.get(f"/api/{route}", params=query).content for route, query in asked]

    async def all_at_once():
        async with httpx.AsyncClient(base_url=api.base_url, timeout=60) as client:
            found = [client.get(f"/api/{route}", params=query) for route, query in asked]
            return [response.content for response in await asyncio.gather(*found)]

    assert asyncio.run(all_at_once()) == alone


def test_what_arrives_together_is_embedded_together(monkeypatch):
    explorer = Explorer(prior(), "prior", settings=AppSettings(spacing_km=1000.0))
    sizes, free = [], threading.Event()
    original = explorer.places

    def counted(asked):
        free.wait(10)
        sizes.append(len(asked))
        return original(asked)

    futures = [explorer.worker.submit(counted, (float(lon), 1.0, 2)) for lon in range(40)]
    free.set()
    found = [future.result(20) for future in futures]
    explorer.close()
    assert sum(sizes) == 40
    assert len(sizes) <= 2  # one before the others had come
    assert found == [original([(float(lon), 1.0, 2)])[0] for lon in range(40)]


def test_tiles_asked_at_once_are_the_same_bytes(api):
    address = "/api/tiles/uncertainty/2/1/1.png"
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: api.get(address).content, range(8)))
    assert len(set(found)) == 1


def test_openapi_names_every_error(api):
    schema = api.get("/openapi.json").json()
    assert schema["openapi"].startswith("3.1")
    routes = {
        f"{method} {path}": operation
        for path, methods in schema["paths"].items()
        for method, operation in methods.items()
    }
    assert set(routes) == {
        "get /api/health",
        "get /api/info",
        "get /api/tiles/{layer}/{z}/{x}/{y}.png",
        "get /api/legend/{layer}",
        "get /api/place",
        "get /api/similar",
        "post /api/photos",
        "get /api/report",
        "get /api/land",
    }
    for name, operation in routes.items():
        assert operation["description"], name
        for code, response in operation["responses"].items():
            if int(code) >= 400:
                problem = response["content"]["application/json"]["schema"]["$ref"]
                assert problem == "#/components/schemas/Problem", (name, code)
    photos = routes["post /api/photos"]
    assert {"404", "408", "413", "422", "503"} <= set(photos["responses"])
    form = photos["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert form["required"] == ["photo"]
    assert "HTTPValidationError" not in schema["components"]["schemas"]
    for page in ("/docs", "/redoc"):
        detail(api.get(page), 404)


def test_unknown_routes_and_methods(api):
    detail(api.get("/api/nothing"), 404)
    detail(api.post("/api/place"), 405)
    detail(api.delete("/api/photos"), 405)


def test_a_failure_is_one_line_without_a_traceback(monkeypatch):
    explorer = Explorer(prior(), "prior", settings=AppSettings(spacing_km=1000.0))
    monkeypatch.setattr(explorer, "info", lambda: 1 / 0)
    with TestClient(
        create_app(explorer), base_url="http://localhost", raise_server_exceptions=False
    ) as client:
        assert "ZeroDivisionError" in detail(client.get("/api/info"), 500)


KINDS = {
    "encoder": (lambda: location(), False, False),
    "prior": (lambda: prior(), True, False),
    "model": (lambda: geo_model(), False, True),
    "presence": (lambda: presence_prior(), True, False),
}


def presence_prior():
    torch.manual_seed(0)
    return geocsp.GeoPrior(location(), ["owl", "fox"]).eval()


@pytest.mark.parametrize("kind", KINDS)
def test_models_that_know_less(kind):
    make, has_classes, has_images = KINDS[kind]
    explorer = Explorer(make(), kind, card="# A card", settings=AppSettings(spacing_km=1000.0))
    with TestClient(create_app(explorer), base_url="http://localhost") as client:
        info = client.get("/api/info").json()
        assert (info["has_prior"], info["has_images"]) == (has_classes, has_images)
        assert info["card"] == "# A card"
        assert ("class" in info["layers"]) == ("uncertainty" in info["layers"]) == has_classes
        place = client.get("/api/place?lon=8&lat=47").json()
        assert bool(place["classes"]) == has_classes
        assert (place["uncertainty"] is not None) == has_classes
        assert client.get("/api/similar?lon=8&lat=47&count=2").json()["places"]
        for layer in ("embedding", "similar"):
            tile = client.get(f"/api/tiles/{layer}/7/66/44.png?lon=8&lat=47")
            assert tile.content.startswith(b"\x89PNG")
        refused = client.get("/api/tiles/uncertainty/7/66/44.png")
        assert refused.status_code == (200 if has_classes else 422)
        if not has_classes:
            assert "knows no classes" in detail(client.get("/api/legend/class?class=x"), 422)
        if not has_images:
            files = {"photo": ("p.jpg", b"x")}
            assert "takes no photos" in detail(client.post("/api/photos", files=files), 404)
        assert "--report" in detail(client.get("/api/report"), 404)
        assert client.get("/report/report.html").status_code == 404


def test_presence_probabilities_are_those_of_each_class():
    explorer = Explorer(presence_prior(), "presence", settings=AppSettings(spacing_km=1000.0))
    said = explorer.places([(8.0, 47.0, 5)])[0]
    expected = presence_prior().class_probabilities(torch.tensor([[8.0, 47.0]]))[0]
    found = {entry.name: entry.probability for entry in said.classes}
    assert found == pytest.approx(
        dict(zip(["owl", "fox"], expected.tolist(), strict=True)), abs=1e-6
    )
    explorer.close()


def test_a_model_that_takes_time():
    torch.manual_seed(0)
    encoder = geocsp.create("location", "wrap", dim=8, date_harmonics=1).eval()
    explorer = Explorer(encoder, "time", settings=AppSettings(spacing_km=1000.0))
    assert explorer.info().takes_time
    explorer.close()


def test_a_spacing_without_land():
    with pytest.raises(DataError, match="spacing_km must be above 0"):
        Explorer(prior(), "prior", settings=AppSettings(spacing_km=0.0))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "evaluation"
    seen = SyntheticRow("csp-mc-bld", "CSP-MC-BLD", Regime.TRANSDUCTIVE)
    results = write_results(folder, rows=(*ROWS, seen))
    (folder / "report.html").write_text("<!doctype html><title>All</title>")
    (folder / "classes").mkdir()
    (folder / "classes" / "0.html").write_text("<title>One</title>")
    return results


def test_report(run):
    explorer = Explorer(location(), "x", report=run.folder, settings=AppSettings(spacing_km=1000.0))
    with serving(explorer) as url:
        said = httpx.get(f"{url}/api/report").json()["tasks"]
        page = httpx.get(f"{url}/report/report.html")
        part = httpx.get(f"{url}/report/classes/0.html")
        assert httpx.get(f"{url}/api/info").json()["has_report"]
        detail(httpx.get(f"{url}/report/results.json"), 404)
        detail(httpx.get(f"{url}/report/"), 404)
    assert "<title>All</title>" in page.text
    assert "script-src" not in page.headers["content-security-policy"]
    assert "<title>One</title>" in part.text
    facts = json.loads((run.folder / "results.json").read_text())
    points = {
        (task["task"], task["measure"], curve["row"], point["shot"]): point
        for task in said
        for curve in task["curves"]
        for point in curve["points"]
    }
    expected = [
        (cell, measure)
        for cell in facts["table"]
        for measure in ("image", "location", "product", "fused", "guarded")
        if measure in cell and cell["regime"] != "transductive"
    ]
    assert expected
    for cell, measure in expected:
        point = points[cell["task"], measure, cell["row"], cell["shot"]]
        found = cell[measure]["top1"]
        assert point["labels"] == cell["labels"]
        assert [point[k] for k in ("mean", "low", "high")] == [
            found[k] for k in ("mean", "low", "high")
        ]
    assert any("(transductive)" in row for _, _, row, _ in points)
    for task in said:
        for curve in task["curves"]:
            row, *told = curve["row"].split(" (")
            assert curve["label"] == " (".join([facts["rows"][row]["label"], *told])
            labels = [point["labels"] for point in curve["points"]]
            assert labels == sorted(labels)


def test_a_run_that_is_damaged_since(run, tmp_path):
    (tmp_path / "results.json").write_text("{")
    explorer = Explorer(location(), "x", report=tmp_path, settings=AppSettings(spacing_km=1000.0))
    with TestClient(create_app(explorer), base_url="http://localhost") as client:
        assert "damaged" in detail(client.get("/api/report"), 422)


def test_tiles_are_kept_within_bytes():
    with ThreadPoolExecutor(1) as pool:
        cache, made = ByteCache(pool, limit=100), []

        def ask(key, size):
            def make():
                made.append(key)
                return b"x" * size

            return cache.ask(key, make).result(5)

        for key in ("a", "b", "a", "c"):
            assert ask(key, 40) == b"x" * 40
        assert cache.size == 80  # b went, as a was used after it
        ask("a", 40)
        ask("b", 40)
        assert made == ["a", "b", "c", "b"]
        ask("huge", 1000)
        assert cache.size == 0


def test_a_tile_is_made_once_for_all_who_ask():
    with ThreadPoolExecutor(4) as pool:
        cache, made, go = ByteCache(pool, limit=100), [], threading.Event()

        def make():
            go.wait(5)
            made.append(1)
            return b"tile"

        futures = [cache.ask("k", make) for _ in range(20)]
        go.set()
        assert {future.result(5) for future in futures} == {b"tile"}
        assert made == [1]


def test_what_failed_is_made_again():
    with ThreadPoolExecutor(1) as pool:
        cache = ByteCache(pool, limit=100)
        with pytest.raises(ZeroDivisionError):
            cache.ask("k", lambda: 1 / 0).result(5)
        assert cache.ask("k", lambda: b"good").result(5) == b"good"


def test_what_nobody_waits_for_is_not_begun():
    with ThreadPoolExecutor(1) as pool:
        cache, go = ByteCache(pool, limit=100), threading.Event()
        first = cache.ask("first", lambda: b"1" if go.wait(5) else b"")
        left = cache.ask("left", lambda: pytest.fail("made though nobody waits"))
        shared = cache.ask("shared", lambda: b"2")
        cache.ask("shared", lambda: b"2")
        cache.leave("left", left)
        cache.leave("shared", shared)
        cache.leave("shared", first)  # of another tile, or of one made before
        go.set()
        assert (first.result(5), shared.result(5)) == (b"1", b"2")
        with pytest.raises(CancelledError):
            left.result(5)
        assert cache.ask("left", lambda: b"3").result(5) == b"3"


def test_too_many_tiles_are_refused():
    with ThreadPoolExecutor(1) as pool:
        cache, go = ByteCache(pool, limit=100, waiting=2), threading.Event()
        asked = [cache.ask(n, lambda: b"x" if go.wait(5) else b"") for n in range(2)]
        with pytest.raises(BusyError):
            cache.ask(3, lambda: b"x")
        go.set()
        assert [future.result(5) for future in asked] == [b"x", b"x"]
    with pytest.raises(BusyError):
        cache.ask(4, lambda: b"x")


def doubled(items):
    return [2 * item for item in items]


def test_one_bad_item_spoils_no_other():
    def inverse(items):
        return [1 / item for item in items]

    worker, go = Worker(), threading.Event()
    held = worker.submit(lambda items: [go.wait(5) for _ in items], None)
    futures = [worker.submit(inverse, item) for item in (1, 0, 4)]
    go.set()
    assert held.result(5)
    assert futures[0].result(5) == 1
    assert futures[2].result(5) == 0.25
    with pytest.raises(ZeroDivisionError):
        futures[1].result(5)
    worker.close()


def test_a_worker_holds_only_so_many():
    worker, go = Worker(waiting=3, together=2), threading.Event()
    held = worker.submit(lambda items: [go.wait(5) for _ in items], None)
    while worker._jobs:
        time.sleep(0.001)
    futures = [worker.submit(doubled, item) for item in range(3)]
    with pytest.raises(BusyError):
        worker.submit(doubled, 9)
    given_up = futures.pop()
    assert given_up.cancel()
    go.set()
    worker.close()  # answers what waits
    assert held.result(0)
    assert [future.result(0) for future in futures] == [0, 2]
    with pytest.raises(BusyError):
        worker.submit(doubled, 1)


def test_quick_items_come_before_slow_ones():
    worker, go, order = Worker(), threading.Event(), []

    def slow(items):
        order.append(("slow", len(items)))
        return items

    def quick(items):
        order.append(("quick", len(items)))
        return items

    worker.submit(lambda items: [go.wait(5) for _ in items], None)
    while worker._jobs:
        time.sleep(0.001)
    futures = [worker.submit(slow, n, alone=True) for n in range(2)]
    futures += [worker.submit(quick, n) for n in range(3)]
    go.set()
    assert [future.result(5) for future in futures] == [0, 1, 0, 1, 2]
    assert order == [("quick", 3), ("slow", 1), ("slow", 1)]
    worker.close()


def test_tiles_that_the_browser_gave_up_are_not_computed():
    explorer = Explorer(prior(), "p", settings=AppSettings(spacing_km=1000.0))
    go = threading.Event()
    address = "/api/tiles/class/6/{}/20.png?class=desert"
    with serving(explorer) as url:
        where = httpx.URL(url)
        held = [explorer._pool.submit(go.wait, 20) for _ in range(2)]
        with socket.create_connection((where.host, where.port)) as connection:
            asked = f"GET {address.format(1)} HTTP/1.1\r\nHost: localhost\r\n\r\n"
            connection.sendall(asked.encode())
            while not explorer.tiles._making:
                time.sleep(0.01)
        while next(iter(explorer.tiles._making.values())).waiting:
            time.sleep(0.01)
        go.set()
        assert all(future.result(5) for future in held)
        kept = httpx.get(url + address.format(2)).content
        assert explorer.tiles.size == len(kept)


def test_busy_is_503(monkeypatch):
    explorer = Explorer(prior(), "p", settings=AppSettings(spacing_km=1000.0, seconds=0.2))
    with TestClient(create_app(explorer), base_url="http://localhost") as client:
        explorer.worker.submit(lambda items: [time.sleep(1.0)], None)
        late = client.get("/api/place?lon=1&lat=1")
        assert "within 0.2 seconds" in detail(late, 503)
        assert late.headers["retry-after"] == "1"
        monkeypatch.setattr(explorer.worker, "_waiting", 0)
        assert "too much to do" in detail(client.get("/api/place?lon=1&lat=1"), 503)


def test_land_is_the_same_bytes_each_time(api):
    both = [
        api.get("/api/land", headers={"Accept-Encoding": "gzip"}, follow_redirects=False)
        for _ in range(2)
    ]
    assert both[0].content == both[1].content
    assert gzip.compress(both[0].content)
