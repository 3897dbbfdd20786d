"""Image encoders: pixels in, features out. One file is one family of networks."""

from geocsp.images.base import ImageEncoder
from geocsp.images.efficientnet_lite import EfficientNetLite0
from geocsp.images.extract import ImageSource, extract

__all__ = ["EfficientNetLite0", "ImageEncoder", "ImageSource", "extract"]
