"""Make the packaged land and borders out of Natural Earth.

    npm pack world-atlas@2.0.2 && tar xzf world-atlas-2.0.2.tgz
    python tools/natural_earth.py package

needs shapely. Natural Earth (naturalearthdata.com) is in the public domain; world-atlas holds its
version 4.1.0 as TopoJSON, polygons joined over the antimeridian. They are cut there again, those
around a pole are closed along the edge of the map, and everything is rounded to 0.002 degrees.
"""

import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import shapely
from shapely.geometry.polygon import orient

STEP = 0.002
SOURCES = {"low": "110m", "medium": "50m"}
TARGET = Path(__file__).parents[1] / "src" / "geocsp" / "maps" / "natural_earth"
POLE = 89.99
ALONG_POLE = 5.0


def arcs_of(topology):
    """Lines of the topology, each ``(N, 2)`` degrees."""
    scale, origin = (np.array(topology["transform"][key]) for key in ("scale", "translate"))
    return [np.cumsum(np.array(arc), axis=0) * scale + origin for arc in topology["arcs"]]


def joined(numbers, arcs):
    """Points of a ring; a negative number is an arc that runs backwards."""
    parts = [arcs[n] if n >= 0 else arcs[~n][::-1] for n in numbers]
    return np.concatenate([parts[0], *(part[1:] for part in parts[1:])])


def unrolled(ring):
    """A ring without jumps in longitude, closed over the pole if it runs around it."""
    lon = np.unwrap(ring[:, 0], period=360.0)
    ring = np.stack([lon, ring[:, 1]], axis=1)
    turned = lon[-1] - lon[0]
    if abs(turned) < 180:
        return ring
    pole = 90.0 * np.sign(ring[:, 1].mean())
    count = round(abs(turned) / ALONG_POLE) + 1
    back = np.stack([np.linspace(lon[-1], lon[0], count), np.full(count, pole)], axis=1)
    return np.concatenate([ring, back, ring[:1]])


def beside(hole, outer):
    """A hole in the turn of longitudes that the outer ring has it in."""
    turns = (hole + np.array([turn, 0.0]) for turn in (-360.0, 0.0, 360.0))
    whole = shapely.make_valid(shapely.Polygon(outer))
    return next(turned for turned in turns if whole.intersects(shapely.Point(turned[0])))


def polygons_of(topology):
    """Valid polygons, none over the antimeridian, the largest first."""
    arcs = arcs_of(topology)
    land = []
    for shape in topology["objects"]["land"]["geometries"][0]["arcs"]:
        rings = [joined(numbers, arcs) for numbers in shape]
        rings = [ring for ring in rings if np.abs(ring[:, 1]).min() < POLE]  # no hole at the pole
        outer = unrolled(rings[0])
        holes = [beside(ring, outer) for ring in rings[1:]]
        land.append(shapely.make_valid(shapely.Polygon(outer, holes)))
    cut = []
    for turn in (-360.0, 0.0, 360.0):
        window = shapely.box(turn - 180, -90, turn + 180, 90)
        parts = [shapely.intersection(shape, window) for shape in land if shape.intersects(window)]
        cut += [shapely.affinity.translate(part, -turn) for part in parts]
    whole = shapely.set_precision(shapely.union_all(cut, grid_size=STEP), STEP)
    found = [part for part in shapely.get_parts(whole) if part.geom_type == "Polygon"]
    return [orient(part) for part in sorted(found, key=lambda p: (-p.area, p.bounds))]


def borders_of(topology):
    """Lines between two countries."""
    arcs = arcs_of(topology)
    uses = Counter()
    for country in topology["objects"]["countries"]["geometries"]:
        shapes = country["arcs"] if country["type"] == "MultiPolygon" else [country["arcs"]]
        uses.update({n if n >= 0 else ~n for shape in shapes for ring in shape for n in ring})
    lines = shapely.MultiLineString([arcs[n] for n, count in sorted(uses.items()) if count > 1])
    merged = shapely.get_parts(shapely.line_merge(shapely.set_precision(lines, STEP)))
    return sorted(merged, key=lambda line: (-line.length, line.bounds))


def packed(shapes):
    """Steps from point to point of lines, in units of STEP, and the number of points of each."""
    whole = [np.rint(np.asarray(shape) / STEP).astype(np.int32) for shape in shapes]
    steps = [np.diff(points, axis=0, prepend=np.zeros((1, 2), np.int32)) for points in whole]
    return np.concatenate(steps), np.array([len(points) for points in whole], np.int32)


def convert(folder):
    """Write one file for each detail."""
    TARGET.mkdir(exist_ok=True)
    for detail, scale in SOURCES.items():
        land = polygons_of(json.loads((folder / f"land-{scale}.json").read_text()))
        borders = borders_of(json.loads((folder / f"countries-{scale}.json").read_text()))
        rings = [ring.coords for polygon in land for ring in (polygon.exterior, *polygon.interiors)]
        ring_steps, ring_sizes = packed(rings)
        line_steps, line_sizes = packed([line.coords for line in borders])
        counts = np.array([1 + len(polygon.interiors) for polygon in land], np.int32)
        path = TARGET / f"{detail}.npz"
        np.savez_compressed(
            path,
            ring_steps=ring_steps.T,
            ring_sizes=ring_sizes,
            rings_of_polygon=counts,
            border_steps=line_steps.T,
            border_sizes=line_sizes,
        )
        print(f"{path}: {len(land)} polygons, {len(borders)} borders, {path.stat().st_size} bytes")


if __name__ == "__main__":
    convert(Path(sys.argv[1]))
