"""A few images in the layout of CSP's iNaturalist 2018, with all that was published beside them."""

import json

import numpy as np
from scipy import sparse

CLASSES = 6
TRAIN, VALIDATION = 240, 120
UNPLACED = {"train": (3, 50, 51), "val": (2, 17, 60)}
SAMPLE = np.array([0, 1, 2, 3, 4, 5, 9, 14, 20, 60, 61, 62, 63, 100, 200])
"""Numbers of training images with a place and a user."""


def truth(split):
    """Class of each image, ``(n,)``."""
    return np.arange(TRAIN if split == "train" else VALIDATION) % CLASSES


def places(split):
    """``(n, 2)`` degrees, NaN where there is none; classes live in bands of latitude."""
    classes = truth(split)
    generator = np.random.default_rng(len(classes))
    lon = generator.uniform(-170, 170, len(classes))
    lat = -60 + 20 * classes + generator.uniform(0, 24, len(classes))
    lonlat = np.round(np.stack([lon, lat], axis=1), 3)
    lonlat[list(UNPLACED[split])] = np.nan
    return lonlat


def probabilities(seed):
    """P(y | I) of the validation images ``(n, Q)``, most of it zero, often for the right class."""
    generator = np.random.default_rng(seed)
    likely = generator.dirichlet(np.full(CLASSES, 0.5), VALIDATION)
    likely[likely < 0.12] = 0
    likely[5] = 0
    likely[6] = [0.5, 0.5, 0, 0, 0, 0]
    return likely.astype(np.float32)


def make(root, shares=(0.2,)):
    """Write all files: predictions and few-shot samples for some shares of the labels."""
    for folder in ("features_inception_pretrain", "features_inception", "fewshot", "sample_idx"):
        (root / folder).mkdir(parents=True)
    for split in ("train", "val"):
        classes, lonlat = truth(split), places(split)
        located = [
            {"id": n, "lon": lon, "lat": lat, "date_c": 0.5, "user_id": n % 4}
            for n, (lon, lat) in enumerate(np.where(np.isnan(lonlat), None, lonlat).tolist())
        ]
        listing = {
            "images": [{"id": n, "file_name": f"{n}.jpg"} for n in range(len(classes))],
            "annotations": [
                {"image_id": n, "category_id": c} for n, c in enumerate(classes.tolist())
            ],
            "categories": [{"id": n, "name": f"species {n}"} for n in range(CLASSES)],
        }
        (root / f"{split}2018.json").write_text(json.dumps(listing))
        (root / f"{split}2018_locations.json").write_text(json.dumps(located))
        np.save(
            root / f"features_inception_pretrain/inat2018_{split}_pretrain_net_feats.npy",
            features(split),
        )
    whole = root / "features_inception/inat2018_val_preds_sparse.npz"
    sparse.save_npz(whole, sparse.csr_matrix(probabilities(0)))
    for number, share in enumerate(shares, 1):
        path = root / f"fewshot/inat2018_val_preds_sparse_ratio{share:.3f}.npz"
        sparse.save_npz(path, sparse.csr_matrix(probabilities(number)))
        SAMPLE.dump(root / f"sample_idx/train_sample_ratio{share:.3f}.npy")
    return root


def features(split):
    """Image features ``(n, 8)`` that tell a little of the class."""
    classes = truth(split)
    generator = np.random.default_rng(7 + len(classes))
    noise = generator.normal(size=(len(classes), 8))
    noise[:, :CLASSES] += np.eye(CLASSES)[classes]
    return noise.astype(np.float32)
