"""Data sets with a name: those of others by their layout, and one that is made here."""

from geocsp.data.named import (  # noqa: F401  (each registers its layouts)
    birds,
    fmow,
    geolifeclef,
    im2gps,
    inat,
    osv5m,
    s2_100k,
    sinr,
    yfcc,
)
