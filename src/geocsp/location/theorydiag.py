"""Space2Vec-theorydiag: the theory encoding with a small network for each radius."""

from __future__ import annotations

from geocsp.location.heads import Head
from geocsp.location.networks import Activation
from geocsp.location.theory import Space2VecTheory
from geocsp.registry import register


@register("location", "space2vec-theorydiag")
class Space2VecTheoryDiag(Space2VecTheory):
    """Theory encoder with a block-diagonal network (Mai et al., ICLR 2020).

    Features (6 F) as ``space2vec-theory``; the six of each radius have a matrix of their own. A
    seam at the antimeridian, many values at a pole.

    Args:
        dim: size of the embedding, a multiple of ``frequencies``.
        frequencies: number of radii, F; by default the largest divisor of ``dim`` up to 16.
        min_radius: finest radius, degrees.
        max_radius: coarsest radius, degrees.
        mix: join the radii by a linear layer.
        activation: non-linearity.
        dropout: probability of dropping a unit.
        date_harmonics: waves of the year that the matrix of every radius gets.
        hour_harmonics: waves of the day that the matrix of every radius gets.

    Raises:
        ValueError: ``dim`` is no multiple of ``frequencies``.
    """

    default_head = Head.BLOCK_DIAGONAL

    def __init__(
        self,
        dim: int = 256,
        *,
        frequencies: int | None = None,
        min_radius: float = 0.1,
        max_radius: float = 360.0,
        mix: bool = False,
        activation: Activation | str = Activation.LEAKY_RELU,
        dropout: float = 0.5,
        date_harmonics: int = 0,
        hour_harmonics: int = 0,
    ) -> None:
        if frequencies is None:
            frequencies = max(count for count in range(1, 17) if dim % count == 0)
        super().__init__(
            dim,
            frequencies=frequencies,
            min_radius=min_radius,
            max_radius=max_radius,
            blocks=frequencies,
            mix=mix,
            activation=activation,
            dropout=dropout,
            shared=2 * (date_harmonics + hour_harmonics),
            date_harmonics=date_harmonics,
            hour_harmonics=hour_harmonics,
        )
