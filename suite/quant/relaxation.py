"""AdaRound's relaxations of rounding up or down, their inverses, and the regulariser (P2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Relaxation:
    """h(alpha) = clamp(stretch (sigmoid(alpha / T) - 1/2) + 1/2, 0, 1).

    stretch: 1.2 reaches 0 and 1 at finite alpha (zeta 1.1, gamma -0.1); 1 only in the limit.
    tempered: T is the schedule's beta, and there is no regulariser; else T is 1.
    """

    stretch: float
    tempered: bool = False

    def __call__(self, alpha: Tensor, temperature: float = 1.0) -> Tensor:
        p = (alpha / temperature if self.tempered else alpha).sigmoid()
        return (p * self.stretch + 0.5 * (1 - self.stretch)).clamp(0.0, 1.0)

    def inverse(self, h: Tensor, temperature: float = 1.0) -> Tensor:
        """alpha with h(alpha) = h. Without stretch h is kept off 0 and 1, as float32 allows."""
        margin = 0.5 * (self.stretch - 1)
        if not margin:
            h = h.clamp(1e-16, 1 - 1e-16)
        alpha = -((1 + margin - h) / (h + margin)).log()
        return alpha * temperature if self.tempered else alpha


RELAXATIONS: Mapping[str, Relaxation] = {
    "hard_sigmoid": Relaxation(1.2),
    "sigmoid": Relaxation(1.0),
    "sigmoid_temperature": Relaxation(1.0, tempered=True),
}


def regulariser(h: Tensor, beta: float) -> Tensor:
    """1 - |2h - 1|^beta of each element: 0 where h is 0 or 1 (AdaRound, eq. 24)."""
    return 1 - (2 * h - 1).abs().pow(beta)
