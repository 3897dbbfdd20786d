"""Classify a folder of GPS photos with few labels (or, without one, tiles that stand in)."""

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from PIL.ExifTags import GPS, IFD

import geocsp
from geocsp.data.named.bluemarble import bluemarble
from geocsp.data.splitters import Buffered, SpatialBlocks, split_table
from geocsp.evaluate import Shot
from geocsp.images import EfficientNetLite0
from geocsp.presets import BEST


def stand_in(folder: Path, count: int = 3000) -> Path:
    """Tiles as photos, with GPS coordinates in their EXIF, one sub-folder for each class."""
    data = bluemarble(points=count)
    task = data.tasks["landcover"]
    for row in np.flatnonzero(task.labels >= 0):
        lon, lat = data.lonlat[row]
        exif = Image.Exif()
        gps = {GPS.GPSLongitudeRef: "EW"[int(lon < 0)], GPS.GPSLongitude: (abs(lon), 0.0, 0.0)}
        gps |= {GPS.GPSLatitudeRef: "NS"[int(lat < 0)], GPS.GPSLatitude: (abs(lat), 0.0, 0.0)}
        exif[IFD.GPSInfo] = gps
        home = folder / task.class_names[task.labels[row]].replace("/", " ")
        home.mkdir(parents=True, exist_ok=True)
        Image.fromarray(data.images(np.array([row]))[0]).save(home / f"{row}.png", exif=exif)
    return folder


folder = Path(sys.argv[1]) if len(sys.argv) > 1 else stand_in(Path(tempfile.mkdtemp()))
table = split_table(geocsp.read(folder), Buffered(SpatialBlocks(), km=150))
features = geocsp.compute_features(EfficientNetLite0(pixels=64), table)
image, lonlat = features.read(), torch.from_numpy(features.table.lonlat).float()
labels, names = torch.from_numpy(features.table.labels), features.table.class_names
codes, parts = torch.from_numpy(features.table.split.codes), features.table.split.names
rows = {part: (codes == code).nonzero()[:, 0] for code, part in enumerate(parts)}
train, held, test = rows["train"], rows["validation"], rows["test"]
model = BEST.build_model(image.shape[1], seed=0)  # no labels so far
model.standardise_by(image[train])
geocsp.pretrain(model, BEST.build_objective(0), image[train], lonlat[train], BEST.pretrain, seed=0)

few = train[Shot(ratio=0.1).rows(labels[train].numpy(), seed=0)]
shown = torch.full_like(labels, -1).index_copy(0, few, labels[few])  # -1 = no label
shaped = model.embed_images(image)
head = geocsp.train_image_head(shaped[few], labels[few], len(names), penalty=100.0)
said = head.logits(shaped).log_softmax(dim=1)
teacher = geocsp.ImageTeacher(said[train], said[held], lonlat[held], labels[held])
prior = geocsp.train_prior(
    BEST, names, lonlat[train], shown[train], seed=0, pretrained=model, teacher=teacher
)
fused = geocsp.fuse(said[test].exp(), prior, lonlat[test])
for name, answer in (("image", said[test]), ("image and place", fused)):
    accuracy = (answer.argmax(dim=1) == labels[test]).double().mean()
    print(f"{name}: {accuracy:.1%} of {len(test)} test images with {len(few)} labels")
