"""What the values of the land cover and climate rasters mean."""

WATER = 0
"""IGBP value of water in MCD12C1."""

LAND_COVER_NAMES = {
    1: "Evergreen needleleaf forest",
    2: "Evergreen broadleaf forest",
    3: "Deciduous needleleaf forest",
    4: "Deciduous broadleaf forest",
    5: "Mixed forest",
    6: "Closed shrubland",
    7: "Open shrubland",
    8: "Woody savanna",
    9: "Savanna",
    10: "Grassland",
    11: "Permanent wetland",
    12: "Cropland",
    13: "Urban and built-up",
    14: "Cropland and natural vegetation mosaic",
    15: "Snow and ice",
    16: "Barren",
}
"""IGBP land cover by raster value; water is left out."""

CLIMATE_NAMES = {
    1: "Af tropical rainforest",
    2: "Am tropical monsoon",
    3: "As tropical savanna, dry summer",
    4: "Aw tropical savanna, dry winter",
    5: "BSh hot steppe",
    6: "BSk cold steppe",
    7: "BWh hot desert",
    8: "BWk cold desert",
    9: "Cfa humid subtropical",
    10: "Cfb temperate oceanic",
    11: "Cfc subpolar oceanic",
    12: "Csa hot-summer Mediterranean",
    13: "Csb warm-summer Mediterranean",
    14: "Csc cold-summer Mediterranean",
    15: "Cwa subtropical, dry winter",
    16: "Cwb subtropical highland, dry winter",
    17: "Cwc cold highland, dry winter",
    18: "Dfa humid continental, hot summer",
    19: "Dfb humid continental, warm summer",
    20: "Dfc subarctic",
    21: "Dfd subarctic, severe winter",
    22: "Dsa continental, hot dry summer",
    23: "Dsb continental, warm dry summer",
    24: "Dsc subarctic, dry summer",
    25: "Dsd subarctic, dry summer, severe winter",
    26: "Dwa continental, hot summer, dry winter",
    27: "Dwb continental, warm summer, dry winter",
    28: "Dwc subarctic, dry winter",
    29: "Dwd subarctic, dry and severe winter",
    30: "EF ice cap",
    31: "ET tundra",
}
"""Koppen-Geiger zone by raster value; ocean (32) is left out."""
