import http.client
import os
import socket
from urllib.parse import urlsplit

import httpx
import pytest
from app_model import location
from app_server import serving
from fastapi.testclient import TestClient

from geocsp.app.create import STATIC, create_app
from geocsp.app.explorer import AppSettings, Explorer

COARSE = AppSettings(spacing_km=1000.0)


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside")
    (outside / "secret.html").write_text("SECRET")
    folder = tmp_path_factory.mktemp("run")
    (folder / "report.html").write_text("REPORT")
    (folder / "results.json").write_text("SECRET")
    (folder / "picture.png").write_bytes(b"PICTURE")
    (folder / "linked.html").symlink_to(outside / "secret.html")
    (folder / "folder").symlink_to(outside)
    (folder.parent / "above.html").write_text("SECRET")
    return folder


@pytest.fixture(scope="module")
def client(run_folder):
    explorer = Explorer(location(), "x", report=run_folder, settings=COARSE)
    with TestClient(create_app(explorer), base_url="http://localhost") as made:
        yield made


def path(url, target):
    """The answer to a path that is sent as it stands."""
    where = urlsplit(url)
    connection = http.client.HTTPConnection(where.hostname, where.port, timeout=20)
    connection.putrequest("GET", target)
    connection.endheaders()
    answer = connection.getresponse()
    return answer.status, answer.read()


@pytest.fixture(scope="module")
def url(run_folder):
    with serving(Explorer(location(), "x", report=run_folder, settings=COARSE)) as address:
        yield address


ESCAPES = [
    "/static/../create.py",
    "/static/%2e%2e/create.py",
    "/static/%2e%2e%2fcreate.py",
    "/static/..%2fcreate.py",
    "/static/..%5ccreate.py",
    "/static/js/../../create.py",
    "/static//etc/passwd",
    "/static/%2fetc%2fpasswd",
    "/static/%00",
    "/static/....//create.py",
    "/report/../above.html",
    "/report/%2e%2e/above.html",
    "/report/..%2fabove.html",
    "/report/x/../../above.html",
    "/report/linked.html",
    "/report/folder/secret.html",
    "/report/results.json",
    "/report/results.json%00.html",
    "/report/%2fetc%2fpasswd.html",
    "/report/",
    "/report",
    "/static/",
    "/../../etc/passwd",
    "//etc/passwd",
]


@pytest.mark.parametrize("target", ESCAPES)
def test_no_path_leads_out(url, target):
    code, content = path(url, target)
    assert code in (307, 404)
    for found in (b"SECRET", b"root:", b"def ", b"import"):
        assert found not in content


def test_what_is_served(url):
    assert path(url, "/report/report.html") == (200, b"REPORT")
    assert path(url, "/report/picture.png") == (200, b"PICTURE")
    code, page = path(url, "/")
    assert (code, page) == (200, (STATIC / "index.html").read_bytes())
    name = next(entry for entry in STATIC.rglob("*.js")).relative_to(STATIC).as_posix()
    assert path(url, f"/static/{name}") == (200, (STATIC / name).read_bytes())


def test_the_first_page_may_be_asked_for_without_its_content(client):
    head = client.head("/")
    assert (head.status_code, head.content) == (200, b"")
    assert client.post("/").status_code == 405


@pytest.mark.parametrize(
    "address", ["/", "/api/info", "/api/nothing", "/static/none.js", "/report/x"]
)
def test_headers_of_every_answer(client, address):
    headers = client.get(address).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "http" not in policy
    assert "unsafe-eval" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["cache-control"] == "no-cache"
    assert "access-control-allow-origin" not in headers
    assert "server" not in headers


def test_scripts_come_from_the_app_alone(client):
    page = client.get("/").headers["content-security-policy"]
    assert "script-src 'self';" in page
    assert "worker-src 'self' blob:" in page
    assert "'unsafe-inline'" not in page
    assert "script-src" not in client.get("/report/report.html").headers["content-security-policy"]


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:8765", "127.0.0.1", "127.0.0.1:1", "[::1]", "[::1]:8765"]
)
def test_names_of_this_computer(client, host):
    assert client.get("/api/health", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example",
        "192.168.1.7",
        "",
        "[::2]",
        "127.0.0.1.evil.example",
    ],
)
def test_other_names_are_refused(client, host):
    for address in ("/", "/api/info", "/static/js/main.js"):
        answer = client.get(address, headers={"Host": host})
        assert answer.status_code == 400
        assert answer.json() == {"detail": "the app is not known by this host name"}
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_any_address_where_the_app_is_open_to_others():
    explorer = Explorer(location(), "x", settings=COARSE)
    app = create_app(explorer, hosts=("localhost", "Box.lan"), any_address=True)
    with TestClient(app, base_url="http://localhost") as client:
        for host, code in {
            "192.168.1.7:8765": 200,
            "[fe80::1]:8765": 200,
            "box.lan": 200,
            "evil.example": 400,
            "192.168.1.7.evil.example": 400,
        }.items():
            assert client.get("/api/health", headers={"Host": host}).status_code == code


@pytest.mark.parametrize(
    ("origin", "code"),
    [
        ("http://localhost", 404),
        ("http://evil.example", 403),
        ("null", 403),
        ("http://localhost:9999", 403),
        ("http://localhost.evil.example", 403),
    ],
)
def test_other_pages_may_not_post(client, origin, code):
    answer = client.post(
        "/api/photos", files={"photo": ("p.jpg", b"x")}, headers={"Origin": origin}
    )
    assert answer.status_code == code


def test_no_page_elsewhere_may_read(client):
    asked = client.options(
        "/api/info",
        headers={"Origin": "http://evil.example", "Access-Control-Request-Method": "GET"},
    )
    assert asked.status_code == 403
    assert "access-control-allow-origin" not in asked.headers


def test_huge_headers(app_url):
    where = urlsplit(app_url)
    with socket.create_connection((where.hostname, where.port), timeout=20) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
        try:
            for _ in range(400):
                connection.sendall(b"X-Long: " + b"x" * 1000 + b"\r\n")
            connection.sendall(b"\r\n")
            answer = connection.recv(1000)
        except OSError:
            answer = b"HTTP/1.1 4"  # closed before all was sent
    assert answer.startswith(b"HTTP/1.1 4")
    assert httpx.get(f"{app_url}/api/health").status_code == 200


def test_noise_instead_of_a_request(app_url):
    where = urlsplit(app_url)
    with socket.create_connection((where.hostname, where.port), timeout=20) as connection:
        connection.sendall(os.urandom(300) + b"\r\n\r\n")
        connection.recv(1000)
    assert httpx.get(f"{app_url}/api/health").status_code == 200
