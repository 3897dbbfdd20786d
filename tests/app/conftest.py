import pytest
from app_model import classifier
from app_server import SETTINGS, serving

from geocsp.app.explorer import Explorer


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory):
    """The small classifier, saved."""
    return classifier().save_pretrained(tmp_path_factory.mktemp("models") / "zones")


@pytest.fixture(scope="session")
def app_url():
    """Address of the app over the small classifier."""
    with serving(Explorer(classifier(), "zones", settings=SETTINGS)) as url:
        yield url
