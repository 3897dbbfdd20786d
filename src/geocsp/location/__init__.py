"""Location encoders: places in, embeddings out. One file is one position encoding."""

from geocsp.location.base import LocationEncoder
from geocsp.location.dfs import SphereDFS
from geocsp.location.geoclip import GeoCLIP
from geocsp.location.grid import Space2VecGrid
from geocsp.location.gridnorm import Space2VecGridNorm
from geocsp.location.harmonics import SphericalHarmonics
from geocsp.location.heads import Head
from geocsp.location.healpix import HealpixHash
from geocsp.location.hexagonal import Space2VecHexagonal
from geocsp.location.naive import Naive
from geocsp.location.nerf import NeRF
from geocsp.location.networks import (
    Activation,
    BlockDiagonal,
    Capsules,
    FeedForward,
    ResidualFC,
)
from geocsp.location.rbf import RBF
from geocsp.location.rff import RFF
from geocsp.location.sinr import SINR
from geocsp.location.siren import ResidualSiren, Siren
from geocsp.location.spherec import SphereC
from geocsp.location.spherec_plus import SphereCPlus
from geocsp.location.spherem import SphereM
from geocsp.location.spherem_plus import SphereMPlus
from geocsp.location.theory import Space2VecTheory
from geocsp.location.theorydiag import Space2VecTheoryDiag
from geocsp.location.theorynorm import Space2VecTheoryNorm
from geocsp.location.tile import Tile
from geocsp.location.wrap import Wrap
from geocsp.location.wrap_ffn import WrapFFN
from geocsp.location.xyz import Cartesian

__all__ = [
    "RBF",
    "RFF",
    "SINR",
    "Activation",
    "BlockDiagonal",
    "Capsules",
    "Cartesian",
    "FeedForward",
    "GeoCLIP",
    "Head",
    "HealpixHash",
    "LocationEncoder",
    "Naive",
    "NeRF",
    "ResidualFC",
    "ResidualSiren",
    "Siren",
    "Space2VecGrid",
    "Space2VecGridNorm",
    "Space2VecHexagonal",
    "Space2VecTheory",
    "Space2VecTheoryDiag",
    "Space2VecTheoryNorm",
    "SphereC",
    "SphereCPlus",
    "SphereDFS",
    "SphereM",
    "SphereMPlus",
    "SphericalHarmonics",
    "Tile",
    "Wrap",
    "WrapFFN",
]
