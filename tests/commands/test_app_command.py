import http.client
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
import torch
import typer
from PIL import Image
from typer.testing import CliRunner

import geocsp
from geocsp.app.serve import listen
from geocsp.commands.app import app
from geocsp.errors import DataError
from geocsp.model import GeoModel

CALL = """
import sys
import geocsp.cli
{before}
sys.argv = ["geocsp", "app", *sys.argv[1:]]
geocsp.cli.main()
"""
QUICK = ["--no-open", "--port", "0", "--spacing", "1000"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.manual_seed(0)
    encoder = geocsp.create("location", "wrap", dim=8)
    return str(encoder.save_pretrained(tmp_path_factory.mktemp("models") / "tiny"))


@pytest.fixture(scope="module")
def photo_folder(tmp_path_factory):
    torch.manual_seed(0)
    encoder = geocsp.create("image", "efficientnet-lite0", pixels=64)
    model = GeoModel(geocsp.create("location", "wrap", dim=8), encoder.dim, image=encoder)
    return str(model.save_pretrained(tmp_path_factory.mktemp("models") / "photos"))


def command(*arguments, before=""):
    return [sys.executable, "-c", CALL.format(before=before), *map(str, arguments)]


def called(*arguments, before=""):
    """A call that ends by itself."""
    return subprocess.run(
        command(*arguments, before=before), capture_output=True, text=True, timeout=100
    )


@contextmanager
def running(*arguments):
    """The process and its port, once it answers."""
    process = subprocess.Popen(
        command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        line = process.stdout.readline()
        yield process, int(re.search(r"http://[^ ]+:(\d+)/ ", line)[1]), line
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def get(port, path="/api/info", host="localhost"):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", path, headers={"Host": host})
    answer = connection.getresponse()
    return answer.status, answer.read()


def test_it_answers_until_it_is_interrupted(folder):
    with running(folder, *QUICK) as (process, port, line):
        assert line.startswith(f"tiny (LocationEncoder) at http://127.0.0.1:{port}/")
        code, said = get(port)
        assert code == 200
        assert b'"name":"tiny"' in said
        assert b'"card":"# ' in said  # without what stands above the first heading
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=30)
        assert process.returncode == 0
        assert (output, errors) == ("", "")
        with listen("127.0.0.1", port):
            pass  # the port is free again


def test_requests_under_way_are_answered_before_the_end(photo_folder, tmp_path):
    Image.new("RGB", (80, 80), "green").save(tmp_path / "p.png")
    content = (tmp_path / "p.png").read_bytes()
    form = (
        b'--b\r\nContent-Disposition: form-data; name="photo"; filename="p.png"\r\n\r\n'
        + content
        + b"\r\n--b--\r\n"
    )
    with running(photo_folder, *QUICK) as (process, port, _):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.putrequest("POST", "/api/photos")
        connection.putheader("Content-Type", "multipart/form-data; boundary=b")
        connection.putheader("Content-Length", str(len(form)))
        connection.endheaders()
        connection.send(form[:-10])
        time.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        assert process.poll() is None
        with pytest.raises(ConnectionError):  # nobody new is let in
            get(port)
        connection.send(form[-10:])
        answer = connection.getresponse()
        assert answer.status == 200
        assert b'"where":{' in answer.read()
        process.communicate(timeout=30)
        assert process.returncode == 0
        with listen("127.0.0.1", port):
            pass


def test_a_port_that_is_taken(folder):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        run = invoke(folder, "--no-open", "--port", str(port))
    assert isinstance(run.exception, DataError)
    assert str(run.exception) == (
        f"cannot listen on port {port} of 127.0.0.1: Address already in use; choose another with "
        "--port"
    )


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_small_answers_are_not_held_back(host):
    with listen(host, 0) as listening:  # where this is not said, asyncio leaves Nagle's wait on
        assert listening.proto == socket.IPPROTO_TCP


def test_a_missing_extra_is_one_line(folder):
    call = called(folder, before="sys.modules['fastapi'] = None")
    assert call.returncode == 2
    assert call.stderr == "geocsp: fastapi is not installed; pip install 'geocsp[app]' brings it\n"


def test_it_warns_of_what_is_open_and_what_is_lacking(tmp_path):
    torch.manual_seed(0)
    model = GeoModel(geocsp.create("location", "wrap", dim=8), 5)
    model.save_pretrained(tmp_path / "features")
    with running(tmp_path / "features", *QUICK, "--host", "0.0.0.0") as (process, port, line):
        assert "at http://localhost:" in line
        assert b'"has_images":false' in get(port)[1]
        assert get(port, host=f"{socket.gethostname()}:{port}")[0] == 200
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    lacking, exposed = errors.splitlines()
    assert lacking.startswith("geocsp: takes no photos: ")
    assert exposed == "geocsp: on 0.0.0.0, everybody who reaches this computer can use the app"


def invoke(*arguments):
    alone = typer.Typer()
    alone.command()(app)
    return CliRunner(env={"COLUMNS": "200"}).invoke(alone, list(arguments))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "nowhere does not exist"),
        (["FOLDER", "--report", "nowhere"], "no finished evaluation"),
        (["FOLDER", "--host", "no.such.host.invalid"], "is no address of this computer"),
        (["FOLDER", "--host", "192.0.2.1"], "cannot listen"),
    ],
)
def test_what_cannot_be_used(folder, arguments, said):
    given = [folder if argument == "FOLDER" else argument for argument in arguments]
    run = invoke(*given, *QUICK)
    assert isinstance(run.exception, DataError)
    assert said in str(run.exception)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["x", "--port", "70000"],
        ["x", "--spacing", "1"],
        ["x", "--max-upload", "0"],
        ["x", "--max-upload", "9999"],
    ],
)
def test_wrong_usage(arguments):
    assert invoke(*arguments).exit_code == 2


def test_help():
    said = invoke("--help").output
    for option in ("--report", "--host", "--port", "--no-open", "--max-upload", "--spacing"):
        assert option in said
