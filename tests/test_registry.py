import pytest

from geocsp import registry
from geocsp.registry import available, create, register


@pytest.fixture(autouse=True)
def _own_kind(monkeypatch):
    monkeypatch.setitem(registry._KINDS, "colour", {})


def test_components_are_known_by_name_and_remember_their_recipe():
    @register("colour", "red")
    class Red:
        def __init__(self, *, depth=1):
            self.depth = depth

    red = create("colour", "red", depth=3)
    assert red.depth == 3
    assert red.recipe == {"name": "red", "settings": {"depth": 3}}
    assert available("colour") == ["red"]


def test_a_name_is_taken_once():
    register("colour", "red")(dict)
    with pytest.raises(ValueError, match="colour 'red' is registered twice"):
        register("colour", "red")(dict)


def test_unknown_names_and_kinds_list_what_there_is():
    register("colour", "red")(dict)
    with pytest.raises(ValueError, match="no colour 'blue'; available: red"):
        create("colour", "blue")
    with pytest.raises(ValueError, match=r"no components of kind 'sound'; kinds: .*location"):
        available("sound")


def test_what_ships_is_registered():
    assert {"space2vec-grid", "wrap"} <= set(available("location"))
    assert {"csp-mc", "csp-nce", "mse"} <= set(available("objective"))
    assert "efficientnet-lite0" in available("image")


def test_the_settings_of_a_component_are_known():
    @register("colour", "blue")
    class Blue:
        def __init__(self, *, depth=1, shine=0):
            pass

    assert registry.settings_of("colour", "blue") == {"depth", "shine"}
