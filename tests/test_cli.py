import re
import subprocess
import sys

import pytest
from typer.testing import CliRunner

import geocsp
from geocsp.cli import app
from geocsp.config import write_config
from geocsp.demo.settings import DemoSettings


def geocsp_command(*arguments, code=None):
    start = ["-c", code] if code else ["-m", "geocsp"]
    return subprocess.run(
        [sys.executable, *start, *arguments], capture_output=True, text=True, check=False
    )


def test_help_lists_only_verbs_that_have_help():
    shown = CliRunner().invoke(app, ["--help"]).output
    verbs = re.findall(r"^│ (\w+) ", shown, flags=re.MULTILINE)
    assert verbs == [
        "demo",
        "check",
        "features",
        "pretrain",
        "finetune",
        "evaluate",
        "compare",
        "probe",
        "predict",
        "embed",
        "map",
        "geolocate",
        "app",
        "import",
        "export",
    ]
    for verb in verbs:
        run = CliRunner().invoke(app, [verb, "--help"])
        assert run.exit_code == 0
        assert "Examples" in run.output


def test_the_version_is_told():
    assert CliRunner().invoke(app, ["--version"]).output == f"geocsp {geocsp.__version__}\n"


@pytest.mark.parametrize(
    ("options", "settings"),
    [
        ([], DemoSettings()),
        (["--quick"], DemoSettings.quick()),
        (["--full"], DemoSettings.full()),
        (["--seed", "3"], DemoSettings(seed=3)),
    ],
)
def test_settings_can_be_printed(options, settings):
    run = CliRunner().invoke(app, ["demo", *options, "--print-config"])
    assert run.exit_code == 0
    assert run.output == write_config(settings)


def test_a_printed_config_can_be_given_back(tmp_path):
    path = tmp_path / "demo.yaml"
    path.write_text(write_config(DemoSettings(epochs=7)))
    run = CliRunner().invoke(app, ["demo", "--config", str(path), "--print-config"])
    assert run.output == path.read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["demo", "--quick", "--full"], "choose one of"),
        (["demo", "--fast"], "No such option"),
        (["demo", "--workers", "0"], "--workers"),
        (["demo", "--seed", "x"], "--seed"),
        (["fly"], "No such command"),
    ],
)
def test_wrong_usage_is_exit_code_2_without_a_traceback(arguments, message):
    run = geocsp_command(*arguments)
    assert run.returncode == 2
    assert message in run.stderr
    assert "Traceback" not in run.stderr


def test_a_wrong_config_is_one_line_and_exit_code_2(tmp_path):
    path = tmp_path / "demo.yaml"
    path.write_text("epochs: many")
    run = geocsp_command("demo", "--config", str(path))
    assert run.returncode == 2
    assert run.stdout == ""
    assert re.fullmatch(r"geocsp: .*demo\.yaml: epochs: .*\n", run.stderr)


@pytest.mark.parametrize("package", ["matplotlib", "jinja2"])
def test_a_missing_extra_is_one_line_before_the_work(tmp_path, package):
    code = f"import sys; sys.modules[{package!r}] = None\nfrom geocsp.cli import main; main()"
    run = geocsp_command("demo", "-o", str(tmp_path / "run"), code=code)
    assert run.returncode == 2
    assert run.stderr == (
        f"geocsp: {package} is not installed; pip install 'geocsp[demo]' brings it\n"
    )
    assert not (tmp_path / "run").exists()


def test_an_output_that_is_a_file_is_one_line(tmp_path):
    path = tmp_path / "taken"
    path.write_text("")
    run = geocsp_command("demo", "-o", str(path))
    assert run.returncode == 2
    assert run.stderr.startswith(f"geocsp: cannot write to {path}")
    assert run.stderr.count("\n") == 1


def test_importing_geocsp_needs_no_extra():
    code = (
        "import sys\n"
        "for name in ('matplotlib', 'jinja2', 'torchvision', 'timm', 'sklearn'):\n"
        "    sys.modules[name] = None\n"
        "import geocsp, geocsp.cli\n"
        "print(sorted(geocsp.__all__) == sorted(set(geocsp.__all__)))\n"
        "print(all(hasattr(geocsp, name) for name in geocsp.__all__))\n"
    )
    assert geocsp_command(code=code).stdout == "True\nTrue\n"
