"""Modules that live in a folder: config.json, model.safetensors and a model card."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Self

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from geocsp.card import ModelCard
from geocsp.card_page import card_page
from geocsp.config import settings_of, values_of
from geocsp.errors import DataError, MissingExtraError
from geocsp.saved_files import (
    CARD_FILE,
    CONFIG_FILE,
    WEIGHTS_FILE,
    check_sizes,
    digest_of,
    find,
    replace_all,
)

__all__ = ["CARD_FILE", "CONFIG_FILE", "WEIGHTS_FILE", "Saved"]


class Saved(nn.Module):
    """A module that a folder can hold and rebuild."""

    kind: str
    """Which kind of model a folder says it holds."""
    card: ModelCard | None = None
    """What is known of its training; a loaded model has the card of its folder, if that has one."""

    def config(self) -> dict[str, Any]:
        """Settings that rebuild the module."""
        raise NotImplementedError

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Build the module, untrained, from its settings."""
        raise NotImplementedError

    def save_pretrained(self, folder: str | Path, card: ModelCard | None = None) -> Path:
        """Write ``config.json``, ``model.safetensors`` and ``README.md``, a model card.

        The config names the SHA-256 of the weights. A kill at any time leaves the model that was
        there before or this one, never a mixture.

        Args:
            folder: made if needed.
            card: what is known of the model; by default the card that it was loaded with.

        Raises:
            DataError: the location encoder was not made by :func:`geocsp.create`, or with settings
                that JSON does not hold; or the folder has a README that is no model card.
            OSError: the folder cannot be written.
        """
        card = ModelCard.of(self) if card is None else card
        weights = save({name: t.detach().contiguous() for name, t in self.state_dict().items()})
        digest = digest_of(weights)
        config = {"format": 1, "model": self.kind, "weights": digest} | self.config()
        try:
            text = json.dumps(config | {"card": values_of(card)}, indent=2)
        except TypeError as error:
            raise DataError(f"settings must be plain numbers, texts and lists: {error}") from error
        page = card_page(card, self, digest)
        return replace_all(Path(folder), weights, text.encode(), page.encode())

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Self:
        """Rebuild a saved module, in evaluation mode.

        Weights stay in the file until they are used.

        Raises:
            DataError: a file is missing, damaged, or belongs to another kind of model; or config
                and weights are of different models.
        """
        folder = Path(folder)
        for name in (CONFIG_FILE, WEIGHTS_FILE):
            if not (folder / name).is_file():
                raise DataError(f"{folder / name} is missing; save_pretrained writes it")
        config_path = folder / CONFIG_FILE
        try:
            config = json.loads(config_path.read_text(encoding="utf-8"))
            kind = config["model"]
            check_sizes(config, folder / WEIGHTS_FILE)
            model = cls.from_config(config) if kind == cls.kind else None
            names = getattr(model, "class_names", ())
            digest = str(config.get("weights", ""))
        except (DataError, MissingExtraError):
            raise  # says itself what is missing
        except Exception as error:  # settings may be anything, and so may what they lead to
            reason = " ".join(repr(error).split())[:300]
            raise DataError(f"{config_path} is damaged: {reason}") from error
        if model is None:
            raise DataError(f"{folder} holds a {kind}, not a {cls.kind}")
        if not all(isinstance(name, str) for name in names):
            raise DataError(f"{config_path} is damaged: names of classes must be texts")
        weights, agree = find(folder, digest)
        try:
            model.load_state_dict(load_file(weights), assign=True)
        except (SafetensorError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            raise DataError(f"{weights} does not fit its config: {reason}") from error
        if not agree:
            raise DataError(
                f"{weights} is not the file that {config_path} was written with; copy or save both "
                "again, together"
            )
        if "card" in config:
            model.card = settings_of(config["card"], ModelCard, f"{config_path}: card")
        return model.eval()
