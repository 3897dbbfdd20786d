"""A batch shared out among processes, inside one process."""

from dataclasses import replace

from geocsp.objectives import Places


class Part:
    """Stands in for a process: gathers by looking up the whole that it holds a part of."""

    def __init__(self, rank, world):
        self.rank, self.world = rank, world
        self.wholes = {}

    def share(self, whole):
        count = len(whole) // self.world
        part = whole[self.rank * count : (self.rank + 1) * count]
        self.wholes[id(part)] = part, whole
        return part

    def gather(self, part):
        found = self.wholes.get(id(part))
        if found:
            return found[1]
        # a slice such as places.unit[:, 0] of a part
        for known, whole in self.wholes.values():
            if known.dim() == 3 and part.data_ptr() == known.data_ptr():
                return whole[:, 0]
        raise AssertionError("gathered something unknown")


def views_of(views, rank, world):
    """The views that process ``rank`` of ``world`` would have."""
    process = Part(rank, world)
    rows = {
        name: process.share(getattr(views, name))
        for name in ("lonlat", "location", "raw_location", "features", "image")
    }
    extra = {
        name: Places(*(process.share(part) for part in (p.lonlat, p.raw, p.unit)))
        for name, p in views.extra.items()
    }
    return replace(views, **rows, extra=extra, process=process)


def mean_over_processes(objective, views, world):
    """Mean of the losses of all processes."""
    losses = [objective(views_of(views, rank, world))["loss"] for rank in range(world)]
    return sum(losses) / world
