import http.server
import io
import sys
import threading

import pytest
import torch
from PIL import Image
from toys import ToyEncoder

import geocsp
from geocsp.data.images import load_file
from geocsp.errors import MissingExtraError


class Handler(http.server.BaseHTTPRequestHandler):
    busy = False

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        name = self.path.strip("/")
        status = {"none.png": 404, "secret.png": 403}.get(name, 200)
        if name == "busy.png" and Handler.busy and self.command == "GET":
            status = 503
        body = self.content(name) if status == 200 else b""
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def content(self, name):
        if name == "page.png":
            return b"<html>sold</html>"
        if name == "places.csv":
            names = ("a", "none", "busy", "secret", "page", "b")
            rows = "".join(f"{n}.png,{10 + k},{20 + k}\n" for k, n in enumerate(names))
            return f"image,lon,lat\n{rows}".encode()
        stored = io.BytesIO()
        Image.new("RGB", (9, 9), (ord(name[0]), 0, 0)).save(stored, "PNG")
        return stored.getvalue()

    def log_message(self, *arguments):
        pass


@pytest.fixture
def host():
    pytest.importorskip("aiohttp")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_table_at_a_url_with_images_beside_it(host, tmp_path, monkeypatch):
    table = geocsp.read(f"{host}/places.csv")
    assert table.lonlat[:, 0].tolist() == [10, 11, 12, 13, 14, 15]
    monkeypatch.setattr(Handler, "busy", True)
    compute = geocsp.compute_features
    with pytest.raises(OSError, match=r"busy\.png: 503"):  # that says nothing about the image
        compute(ToyEncoder(), table, tmp_path / "out", bfloat16=False)
    monkeypatch.setattr(Handler, "busy", False)
    features = compute(ToyEncoder(), table, tmp_path / "out", bfloat16=False)
    assert features.table.images.names.to_pylist() == ["a.png", "busy.png", "b.png"]
    reasons = {problem.file: problem.reason for problem in features.table.problems}
    assert reasons.keys() == {"none.png", "secret.png", "page.png"}
    assert reasons["page.png"] == "is a web page, not an image"
    assert all(reasons[name].startswith("cannot be read") for name in ("none.png", "secret.png"))
    assert bool(features.read().isfinite().all())
    assert not torch.equal(features.read()[0], features.read()[2])


def test_a_file_system_that_is_not_installed_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(MissingExtraError, match=r"s3fs is not installed; .*geocsp\[web\]"):
        load_file("s3://bucket/a.jpg")
