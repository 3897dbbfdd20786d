"""Geo-bias: are the places where a model fails, and its failures among them, spread by chance?"""

from geocsp.evaluate.geo_bias.scores import GeoBias, geo_bias

__all__ = ["GeoBias", "geo_bias"]
