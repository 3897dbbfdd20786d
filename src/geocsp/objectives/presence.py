"""Presence-absence loss that fine-tunes P(y | x) from labelled places."""

from __future__ import annotations

from torch import Tensor

from geocsp.objectives.pairs import binary_nll


def presence_absence(
    logits: Tensor, labels: Tensor, random_logits: Tensor, *, epsilon: float = 1e-5
) -> Tensor:
    """Presence-absence loss of Mac Aodha et al. (ICCV 2019), as CSP uses it (eq. 5).

    With l(p) = -log(p + epsilon) and Q classes: the mean over places and classes of
    Q l(p) for the class seen there and l(1 - p) for the others, plus the mean over places and
    classes of l(1 - r) at one random place per sample.

    Args:
        logits: ``(N, Q)`` class scores e(x) . T_c at the labelled places.
        labels: ``(N,)`` class seen at each place.
        random_logits: ``(M, Q)`` class scores at random places.
        epsilon: added inside the logarithm.

    Returns:
        The loss, a scalar.
    """
    classes = logits.shape[1]
    seen = labels.unsqueeze(1)
    absent = binary_nll(-logits, epsilon)
    present = binary_nll(logits.gather(1, seen), epsilon)
    total = absent.sum() - absent.gather(1, seen).sum() + classes * present.sum()
    return total / logits.numel() + binary_nll(-random_logits, epsilon).mean()
