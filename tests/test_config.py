import pytest

from geocsp.config import read_config, write_config
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
