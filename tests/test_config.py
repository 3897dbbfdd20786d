import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from geocsp.config import parse_config, read_config, settings_of, values_of, write_config
from geocsp.demo.settings import DemoSettings
from geocsp.errors import DataError


def config(tmp_path, text):
    path = tmp_path / "demo.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("settings", [DemoSettings(), DemoSettings.quick(), DemoSettings.full()])
def test_written_settings_read_back_the_same(tmp_path, settings):
    assert read_config(config(tmp_path, write_config(settings)), DemoSettings) == settings


def test_what_a_file_leaves_out_keeps_its_default(tmp_path):
    settings = read_config(config(tmp_path, "epochs: 3\ntest_folds: [2]\n"), DemoSettings)
    assert settings == DemoSettings(epochs=3, test_folds=(2,))
    assert read_config(config(tmp_path, ""), DemoSettings) == DemoSettings()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch: 3", "demo.yaml: epoch: "),
        ("epochs: many", "demo.yaml: epochs: .*integer"),
        ("shots: [{ratio: lots}]", r"demo.yaml: shots\.0\.ratio: .*number"),
        ("- 1\n- 2", "demo.yaml: the file: "),
        ("epochs: [", "cannot read .*demo.yaml"),
        ("epochs: !!python/object/apply:os.getcwd []", "cannot read .*demo.yaml: .*python/object"),
        ("test_folds: [0]", r"demo.yaml: the file: .*test folds must be some of \(1, 2, 3, 4\)"),
        ("points: 10", "at least 2000 points"),
    ],
)
def test_a_wrong_file_is_one_line_that_names_the_field(tmp_path, text, message):
    with pytest.raises(DataError, match=message) as caught:
        read_config(config(tmp_path, text), DemoSettings)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"cannot read .*nothing\.yaml: .*No such file"):
        read_config(tmp_path / "nothing.yaml", DemoSettings)


@dataclass(frozen=True)
class Rates:
    rate: float = 1.0
    free: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self):
        if self.rate <= 0:
            raise ValueError(f"rate must be positive, got {self.rate}")


@pytest.mark.parametrize("number", ["1e-4", "1E-4", "1.e-4", "0.1e-3", "+1e-4", "1e-04"])
def test_numbers_in_powers_of_ten_are_numbers_wherever_they_stand(number):
    settings = parse_config(f"rate: {number}\nfree: {{a: {number}, b: e-4, c: 1e}}", Rates, "here")
    assert settings == Rates(1e-4, {"a": 1e-4, "b": "e-4", "c": "1e"})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rate": 0}, "here: the file: rate must be positive, got 0.0"),
        ({"rates": 1}, "here: rates: there is no such setting"),
        ([1], "here: the file: Input should be"),
    ],
)
def test_plain_values_are_checked_and_named(values, message):
    with pytest.raises(DataError) as caught:
        settings_of(values, Rates, "here")
    assert str(caught.value).startswith(message)


def test_settings_become_plain_values_and_come_back():
    settings = DemoSettings()
    plain = values_of(settings)
    assert json.loads(json.dumps(plain)) == plain
    assert settings_of(plain, DemoSettings, "here") == settings
