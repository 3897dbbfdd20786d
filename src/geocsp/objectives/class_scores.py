"""Common ground of the objectives that learn from the classes seen at places."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from geocsp.errors import DataError
from geocsp.objectives.base import Objective, Views, at_least_float32
from geocsp.objectives.negatives import NegativeSampling
from geocsp.objectives.pairs import binary_nll
from geocsp.process import Process

SCORES_AT_ONCE = 1 << 24
"""Most class scores that are held in one go; more rows are scored again in the backward pass."""


class ClassScores(Objective):
    """A loss over class scores e(x) . T_c of raw location embeddings e(x); images are not used.

    After training, ``class_matrix`` is that of a prior: ``GeoPrior(model.location, classes)``
    with ``prior.class_matrix.load_state_dict(objective.class_matrix.state_dict())``.

    Rows with label -1 are left out of the terms that need a label. The loss is the sum of the
    :meth:`terms`.

    Args:
        dim: D, size of the location embedding.
        classes: Q, number of classes.

    Attributes:
        class_matrix: T, a linear layer from D to Q without bias.

    Raises:
        ValueError: no class.
    """

    uses_images = False
    uses_labels = True

    def __init__(self, *, dim: int, classes: int) -> None:
        super().__init__()
        if classes < 1:
            raise ValueError(f"classes must be at least 1, got {classes}")
        self.class_matrix = nn.Linear(dim, classes, bias=False)

    @abstractmethod
    def terms(self, views: Views) -> dict[str, Tensor]:
        """The terms of the loss by name, scalars whose mean over processes is the batch's."""

    def forward(self, views: Views) -> dict[str, Tensor]:
        """Return the loss and its terms.

        Raises:
            DataError: a label that is no class number.
        """
        terms = self.terms(views)
        loss = torch.stack(list(terms.values())).sum()
        return {"loss": loss} | {name: term.detach() for name, term in terms.items()}

    def scores(self, raw: Tensor) -> Tensor:
        """Class scores of raw embeddings, ``(n, D)`` to ``(n, Q)``, at least float32."""
        scores: Tensor = self.class_matrix(raw)
        return at_least_float32(scores)

    def mean_of_labelled(
        self, views: Views, loss: Callable[[Tensor, Tensor], Tensor], raw: Tensor
    ) -> Tensor:
        """Mean over the labelled rows of the whole batch.

        Args:
            views: this process's part of the batch.
            loss: losses ``(n,)`` of raw embeddings ``(n, D)`` that belong to labels ``(n,)``.
            raw: ``(b, D)`` embeddings.
        """
        labels = self._checked(views.labels)
        known = labels >= 0
        losses = self.by_parts(loss, raw[known], labels[known])
        return mean_over_processes(losses, views.process)

    def by_parts(self, loss: Callable[..., Tensor], *rows: Tensor) -> Tensor:
        """Losses of all rows, ``(n,)``, from few enough rows at a time to bound the memory."""
        size = max(1, SCORES_AT_ONCE // self.class_matrix.out_features)
        if len(rows[0]) <= size:
            return loss(*rows)
        parts = zip(*(column.split(size) for column in rows), strict=True)
        losses = [
            checkpoint(loss, *part, use_reentrant=False, preserve_rng_state=False) for part in parts
        ]
        return torch.cat(losses)

    def _checked(self, labels: Tensor | None) -> Tensor:
        assert labels is not None
        classes = self.class_matrix.out_features
        wrong = labels >= classes
        if bool(wrong.any()):
            row = int(wrong.nonzero()[0])
            raise DataError(
                f"label of row {row} of the batch is {int(labels[row])}; the objective has "
                f"{classes} classes, 0..{classes - 1}"
            )
        return labels


class PresenceOnly(ClassScores):
    """Common ground of losses over sightings, where nobody has noted what is absent.

    Args:
        dim: D, size of the location embedding.
        classes: Q, number of classes.
        epsilon: added inside the logarithm; 1e-5 in the released code, none in the papers.
        sampling: where random places are drawn, a :class:`NegativeSampling` or its value.
    """

    random_places = True

    def __init__(
        self,
        *,
        dim: int,
        classes: int,
        epsilon: float = 1e-5,
        sampling: NegativeSampling | str = NegativeSampling.SPHERE,
    ) -> None:
        super().__init__(dim=dim, classes=classes)
        self.epsilon = epsilon
        self.sampling = NegativeSampling(sampling)

    def places(self, lonlat: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """One random place per row, where the loss needs them."""
        if not self.random_places:
            return {}
        return {"random": self.sampling.for_each(lonlat, 1, generator)}

    def present(self, scores: Tensor) -> Tensor:
        """Loss of classes that are there, element by element: -log p."""
        return binary_nll(scores, self.epsilon)

    def absent(self, scores: Tensor) -> Tensor:
        """Loss of classes of which nothing is known: -log(1 - p), taking them to be absent."""
        return binary_nll(-scores, self.epsilon)

    def scores_of(self, raw: Tensor, labels: Tensor) -> Tensor:
        """Score of one class per row: ``(n, D)`` and ``(n,)`` to ``(n,)``."""
        scores = (raw * self.class_matrix.weight[labels]).sum(-1)
        return at_least_float32(scores)


def mean_over_processes(losses: Tensor, process: Process) -> Tensor:
    """This process's share of a mean over rows of which every process may have a different number.

    Args:
        losses: ``(n,)`` losses of own rows.
        process: this process.

    Returns:
        The sum of the losses times the number of processes by the number of all rows, a scalar;
        its mean over processes is the mean over all rows. Zero if there are no rows.
    """
    own = torch.tensor([len(losses)], device=losses.device)
    count = process.gather(own).sum().clamp(min=1)
    return losses.sum() * process.world / count
