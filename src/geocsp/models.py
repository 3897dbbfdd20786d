"""Any trained model by where it is."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TypeAlias

import torch
from torch import nn

from geocsp.classifier import GeoClassifier
from geocsp.config import read_config
from geocsp.data.packaged import PackagedFile
from geocsp.errors import DataError, MissingExtraError
from geocsp.hub import download, is_address
from geocsp.images.names import parse_encoder
from geocsp.interop import import_checkpoint
from geocsp.linear_prior import LinearPrior
from geocsp.location import LocationEncoder
from geocsp.model import GeoModel, GeoPrior
from geocsp.presets import Preset
from geocsp.saved import CONFIG_FILE, WEIGHTS_FILE, Saved
from geocsp.train.folder import CONFIG_FILE as RUN_CONFIG
from geocsp.train.folder import MODEL_FOLDER, PRIOR_FOLDER

LocationModel: TypeAlias = GeoClassifier | GeoModel | GeoPrior | LinearPrior | LocationEncoder
"""Everything that embeds places."""
GEOCLIP = "geoclip"
_GEOCLIP_FILE = PackagedFile("geoclip", "geoclip/model/weights/location_encoder_weights.pth")
_KINDS: dict[str, type[Saved]] = {
    model.kind: model for model in (GeoClassifier, GeoModel, GeoPrior, LinearPrior, LocationEncoder)
}


def load(source: str | Path) -> LocationModel:
    """Load a trained model, in evaluation mode. No code in any file is run.

    Args:
        source: a folder of ``save_pretrained``; a run folder of ``geocsp pretrain``, whose model
            it is; a checkpoint file as :func:`geocsp.import_checkpoint` takes it; or a model on the
            Hugging Face hub, "hf://owner/name@revision", see :func:`geocsp.hub.download`; or
            "geoclip" for the published location encoder in the package of that name (Vivanco
            Cepeda et al., NeurIPS 2023).

    Raises:
        DataError: it is none of these, or cannot be read.
    """
    if is_address(source):
        return load(download(str(source)))
    if source == GEOCLIP:
        return import_checkpoint(_geoclip_weights())
    path = Path(source).expanduser()
    if path.is_file():
        return import_checkpoint(path)
    for folder in (path, path / MODEL_FOLDER, path / PRIOR_FOLDER):
        if (folder / CONFIG_FILE).is_file():
            return _saved(folder)
    if not path.exists():
        raise DataError(f"{source} does not exist; name a saved folder, a run folder or a file")
    raise DataError(
        f"{source} holds no model: neither {CONFIG_FILE} and {WEIGHTS_FILE} nor a folder "
        f"{MODEL_FOLDER}/ with them"
    )


def load_with_images(
    source: str | Path, *, allow_download: bool = False
) -> GeoModel | GeoClassifier:
    """Load a model that takes images, with the image encoder whose features it was trained on.

    Args:
        source: as for :func:`load`; of a run folder, or the ``model`` in it, the settings of the
            run say which encoder that is.
        allow_download: download weights of the image encoder that are not on this computer.

    Raises:
        DataError: there is no such model, or nothing says which encoder.
        MissingExtraError: the library of the encoder is not installed.
    """
    model = load(source)
    if isinstance(model, GeoClassifier):
        if model.model.image is None:
            raise DataError(f"{source} takes image features only; it has no image encoder")
        return model
    if not isinstance(model, GeoModel):
        raise DataError(f"{source} holds a {model.kind}, which takes no images")
    if model.image is not None:
        return model
    run = run_of(source)
    if run is None:
        raise DataError(
            f"{source} takes image features and does not say of which encoder; name the run "
            "folder of geocsp pretrain, or join them by GeoModel.with_image"
        )
    tower = read_config(run / RUN_CONFIG, Preset).image
    encoder = parse_encoder(
        tower.encoder,
        weights=tower.weights,
        allow_download=allow_download,
        channels=tower.channels,
        pixels=tower.pixels,
    )
    try:
        return model.with_image(encoder)
    except ValueError as error:
        raise DataError(
            f"{source} was trained on other features than those of {tower.encoder}: {error}"
        ) from error


def run_of(source: str | Path) -> Path | None:
    """The run folder that a model's address names, or in which the model lies."""
    folder = Path(source).expanduser()
    return next((f for f in (folder, folder.parent) if (f / RUN_CONFIG).is_file()), None)


def location_of(model: LocationModel) -> LocationEncoder:
    """The part that embeds places."""
    if isinstance(model, LocationEncoder):
        return model
    return model.model.location if isinstance(model, GeoClassifier) else model.location


def geo_model_of(model: LocationModel, source: str | Path) -> GeoModel:
    """The part with an image side.

    Raises:
        DataError: there is none; ``source`` is what the message calls it.
    """
    if isinstance(model, GeoClassifier):
        return model.model
    if isinstance(model, GeoModel):
        return model
    raise DataError(f"{source} holds a {model.kind}, which knows places but no images")


def prior_of(model: LocationModel, source: str | Path) -> GeoPrior | LinearPrior:
    """The part that says P(class | place).

    Raises:
        DataError: there is none; ``source`` is what the message calls it.
    """
    if isinstance(model, GeoClassifier):
        return model.prior
    if isinstance(model, (GeoPrior, LinearPrior)):
        return model
    raise DataError(
        f"{source} holds a {model.kind}, which knows no classes; geocsp finetune teaches it some"
    )


def fingerprint_of(model: nn.Module) -> str:
    """SHA-256 of names, shapes and values of all weights and buffers."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _geoclip_weights() -> Path:
    try:
        return _GEOCLIP_FILE.locate()
    except MissingExtraError:
        raise DataError(
            "geoclip is not installed; pip install --no-deps geoclip==1.3.0 brings its weights"
        ) from None


def _saved(folder: Path) -> LocationModel:
    try:
        kind = _KINDS[json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))["model"]]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{folder / CONFIG_FILE} is damaged: {error!r}") from error
    return kind.from_pretrained(folder)  # type: ignore[return-value]
