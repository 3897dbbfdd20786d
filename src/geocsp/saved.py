"""Modules that live in a folder: config.json and model.safetensors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Self

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import nn

from geocsp.errors import DataError
from geocsp.files import write_atomically

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"


class Saved(nn.Module):
    """A module that a folder can hold and rebuild."""

    kind: str
    """Which kind of model a folder says it holds."""

    def config(self) -> dict[str, Any]:
        """Settings that rebuild the module."""
        raise NotImplementedError

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Build the module, untrained, from its settings."""
        raise NotImplementedError

    def save_pretrained(self, folder: str | Path) -> Path:
        """Write ``config.json`` and ``model.safetensors`` into a folder, made if needed.

        Raises:
            DataError: the location encoder was not made by :func:`geocsp.create`, or with settings
                that JSON does not hold.
            OSError: the folder cannot be written.
        """
        config = {"format": 1, "model": self.kind} | self.config()
        try:
            text = json.dumps(config, indent=2)
        except TypeError as error:
            raise DataError(f"settings must be plain numbers, texts and lists: {error}") from error
        weights = save({name: t.detach().contiguous() for name, t in self.state_dict().items()})
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / WEIGHTS_FILE, weights)
        write_atomically(folder / CONFIG_FILE, text.encode())
        return folder

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Self:
        """Rebuild a saved module, in evaluation mode.

        Raises:
            DataError: a file is missing, damaged, or belongs to another kind of model.
        """
        folder = Path(folder)
        for name in (CONFIG_FILE, WEIGHTS_FILE):
            if not (folder / name).is_file():
                raise DataError(f"{folder / name} is missing; save_pretrained writes it")
        try:
            config = json.loads((folder / CONFIG_FILE).read_text())
            kind = config["model"]
            model = cls.from_config(config) if kind == cls.kind else None
        except DataError:
            raise  # says itself what is missing
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise DataError(f"{folder / CONFIG_FILE} is damaged: {error!r}") from error
        if model is None:
            raise DataError(f"{folder} holds a {kind}, not a {cls.kind}")
        try:
            model.load_state_dict(load((folder / WEIGHTS_FILE).read_bytes()), assign=True)
        except (SafetensorError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            raise DataError(f"{folder / WEIGHTS_FILE} does not fit its config: {reason}") from error
        return model.eval()
