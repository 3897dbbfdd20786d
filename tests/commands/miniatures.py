"""Published data sets, as their authors lay them out, with a few dozen images."""

import json

import numpy as np
from PIL import Image

COUNT = 60
CLASSES = 3


def places(count, seed=0):
    """Places on a few continents: ``(count, 2)`` degrees."""
    generator = np.random.default_rng(seed)
    return np.round(generator.uniform([-170, -60], [170, 70], (count, 2)), 4)


def features(lonlat, size=8):
    """Image features that say something about the place."""
    mix = np.random.default_rng(1).normal(size=(4, size))
    angle = np.deg2rad(lonlat)
    return (np.concatenate([np.sin(angle), np.cos(angle)], axis=1) @ mix).astype(np.float32)


def _listed(lonlat):
    locations = [
        {"id": n, "lon": lon, "lat": lat, "date_c": 0.5, "user_id": n % 4}
        for n, (lon, lat) in enumerate(lonlat.tolist())
    ]
    images = [{"id": n, "file_name": f"{n}.jpg"} for n in range(len(lonlat))]
    annotations = [{"image_id": n, "category_id": n % CLASSES} for n in range(len(lonlat))]
    return locations, {"images": images, "annotations": annotations}


def _csp(root, dataset, names, categories):
    folder = root / "features_inception_pretrain"
    folder.mkdir(parents=True)
    for split, count in (("train", COUNT), ("val", 9)):
        lonlat = places(count, seed=count)
        locations, whole = _listed(lonlat)
        if split == "train":  # two without a place
            locations[3] = locations[7] = {"id": 3, "lon": None, "lat": None, "date_c": None}
            locations[7] = locations[7] | {"id": 7}
        listing, located = (name.format(split) for name in names)
        (root / listing).write_text(json.dumps(whole | categories))
        (root / located).write_text(json.dumps(locations))
        np.save(folder / f"{dataset}_{split}_pretrain_net_feats.npy", features(lonlat))
    return root


def inat2018(root):
    """CSP's files for iNaturalist 2018."""
    species = [{"id": n, "name": f"species {n}"} for n in range(CLASSES)]
    names = ("{}2018.json", "{}2018_locations.json")
    return _csp(root, "inat2018", names, {"categories": species})


def fmow(root):
    """CSP's files for fMoW."""
    _csp(root, "fmow", ("{}.json", "{}_location.json"), {})
    (root / "category.json").write_text(json.dumps({"airport": 0, "zoo": 1, "park": 2}))
    return root


def yfcc(root):
    """YFCC100M-GEO100 with photos, one of them broken."""
    generator = np.random.default_rng(0)
    lines = ["path,lat,lon,split,class"]
    for number, (lon, lat) in enumerate(places(COUNT).tolist()):
        path = root / f"class{number % CLASSES}/{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = generator.integers(0, 256, (24, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
        split = "test" if number % 10 == 9 else "train"
        lines.append(f"{path.relative_to(root)},{lat},{lon},{split},{number % CLASSES}")
    (root / "class0/0.jpg").write_bytes(b"no image")
    (root / "train_test_split.csv").write_text("\n".join(lines))
    (root / "class_names.csv").write_text("id,name\n0,beach\n1,zoo\n2,park\n")
    return root


def s2_100k(root, rasterio):
    """S2-100K: patches of 12 bands."""
    (root / "images").mkdir(parents=True)
    generator = np.random.default_rng(0)
    lines = ["fn,lon,lat"]
    profile = {"driver": "GTiff", "count": 12, "height": 16, "width": 16, "dtype": "uint16"}
    for number, (lon, lat) in enumerate(places(COUNT).tolist()):
        origin = rasterio.Affine(1e-4, 0, lon, 0, -1e-4, lat)
        with rasterio.open(
            root / f"images/patch_{number}.tif", "w", transform=origin, **profile
        ) as file:
            file.write(generator.integers(0, 5000, (12, 16, 16), dtype=np.uint16))
        lines.append(f"patch_{number}.tif,{lon},{lat}")
    (root / "index.csv").write_text("\n".join(lines))
    return root


def sinr(root):
    """SINR's table of places and species, one row without a place."""
    lines = ["observation_uuid,latitude,longitude,positional_accuracy,taxon_id,observed_on"]
    lines += [
        f"{number},{lat},{lon},10,{100 + number % CLASSES},2019-07-02"
        for number, (lon, lat) in enumerate(places(COUNT).tolist())
    ]
    root.mkdir(parents=True, exist_ok=True)
    (root / "geo_prior_train.csv").write_text("\n".join([*lines, "x,,,10,100,2019-07-02"]))
    species = [{"taxon_id": 100, "latin_name": "Parus major"}]
    (root / "geo_prior_train_meta.json").write_text(json.dumps(species))
    return root
