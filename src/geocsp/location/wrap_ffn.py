"""Wrap-ffn: wrapped coordinates with a feed-forward network."""

from __future__ import annotations

from geocsp.location.heads import Head
from geocsp.location.wrap import Wrap
from geocsp.registry import register


@register("location", "wrap-ffn")
class WrapFFN(Wrap):
    """Wrapped coordinates with a feed-forward network (Mai et al., ICLR 2020).

    Features (4), scale and wrap-around as ``wrap``.

    Args:
        dim: size of the embedding.
        **shared: see :class:`geocsp.location.heads.Shared`.
    """

    default_head = Head.FEED_FORWARD
