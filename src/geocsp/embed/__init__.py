"""Embeddings of places for other programs: tables in, tables with embeddings out."""

from geocsp.embed.encoders import untrained_encoder
from geocsp.embed.settings import EmbedSettings
from geocsp.embed.table import Embedded, embed_table
from geocsp.embed.vectors import NAME, Dtype, column_names, embed_places

__all__ = [
    "NAME",
    "Dtype",
    "EmbedSettings",
    "Embedded",
    "column_names",
    "embed_places",
    "embed_table",
    "untrained_encoder",
]
