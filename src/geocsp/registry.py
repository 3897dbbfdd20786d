"""Components by name: ``@register`` them where they live, ``create`` them anywhere."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeVar

_KINDS: dict[str, dict[str, Callable[..., Any]]] = {
    kind: {}
    for kind in ("image", "layout", "location", "objective", "prior", "sampler", "splitter")
}
_HOMES = {"layout": "geocsp.data.named.layouts", "prior": "geocsp.priors"}
"""Modules that register a kind and are imported when it is first asked for."""
_Component = TypeVar("_Component", bound=Callable[..., Any])


def register(kind: str, name: str) -> Callable[[_Component], _Component]:
    """Decorator that makes a class or function known as ``name`` among its ``kind``."""

    def add(component: _Component) -> _Component:
        known = _KINDS[kind]
        if name in known:
            raise ValueError(f"{kind} {name!r} is registered twice")
        known[name] = component
        return component

    return add


def available(kind: str) -> list[str]:
    """Names of all components of a kind: "location", "objective", "image", "layout" and so on."""
    if kind not in _KINDS:
        raise ValueError(f"no components of kind {kind!r}; kinds: {', '.join(sorted(_KINDS))}")
    if kind in _HOMES:
        import_module(_HOMES[kind])
    return sorted(_KINDS[kind])


def settings_of(kind: str, name: str) -> frozenset[str]:
    """Names of the settings that a component takes."""
    return frozenset(inspect.signature(_KINDS[kind][name]).parameters)


def create(kind: str, name: str, **settings: Any) -> Any:
    """Build the component ``name`` of a kind with the keyword settings of its class or function.

    The name and settings stay readable as ``component.recipe``, from which a saved folder
    rebuilds it.

    Raises:
        ValueError: no such component, or a setting that it does not take.
    """
    if name not in available(kind):
        raise ValueError(f"no {kind} {name!r}; available: {', '.join(available(kind))}")
    factory = _KINDS[kind][name]
    try:
        inspect.signature(factory).bind(**settings)
    except TypeError as error:
        raise ValueError(f"{kind} {name!r}: {error}") from error
    component = factory(**settings)
    recipe = {"name": name, "settings": copy.deepcopy(settings)}
    object.__setattr__(component, "recipe", recipe)  # also where the component is frozen
    return component
