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
from geocsp.data.table import Categories
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
split = features.table.split
rows = [np.flatnonzero(split.codes == split.names.index(part)) for part in ("train", "test")]
seen, test = map(features.take, rows)
lonlat = torch.from_numpy(seen.table.lonlat).float()
model = BEST.build_model(features.shape[1], seed=0)  # no labels so far
model.standardise_by(seen)
geocsp.pretrain(model, BEST.build_objective(0), seen.read(), lonlat, BEST.pretrain, seed=0)

few = Shot(ratio=0.15).rows(seen.table.labels, seed=0)
shown = np.full_like(seen.table.labels, -1)  # -1 = no label
shown[few] = seen.table.labels[few]
label = Categories(shown, seen.table.class_names)
examples = geocsp.Examples(seen, lonlat, label=label)
classifier, report = geocsp.train_classifier(BEST, model, examples, seed=0)
print(report)

image, places = test.read(), torch.from_numpy(test.table.lonlat).float()
alone, fused = classifier.image_probabilities(image), classifier.probabilities(image, places)
for name, answer in (("image", alone), ("image and place", fused)):
    accuracy = (answer.argmax(dim=1).numpy() == test.table.labels).mean()
    print(f"{name}: {accuracy:.1%} of {len(test)} test images with {len(few)} labels")
