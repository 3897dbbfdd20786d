"""All layouts of published data sets, apart from the package so that nothing else loads them."""

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
