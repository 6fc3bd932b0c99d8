"""The oscillation metric: how often a weight's integer code jumps back and forth."""

from __future__ import annotations

import torch
from torch import Tensor

OSCILLATING = 0.005
"""Frequency above which a weight counts as oscillating in P1's reports."""


MOMENTUM = 0.001
"""Weight of the newest step in the moving frequency of P1's reports."""


def reversals(move: Tensor, direction: Tensor, frequency: Tensor, momentum: float) -> Tensor:
    """Which codes moved against the direction of their last move; direction and frequency are
    moved on by this step, in place. move: change of every code at this step."""
    sign = move.sign()
    oscillated = sign * direction == -1
    frequency.mul_(1 - momentum).add_(oscillated, alpha=momentum)
    direction.copy_(torch.where(move != 0, sign, direction))
    return oscillated


class Oscillation:
    """Exponential moving frequency of reversals of one tensor's codes.

    A weight oscillates at a step when its code moves against the direction of its last move
    (P1 code: fp_pretrained/oscillation_tracking_utils.py). momentum: weight of the newest step.
    freeze: frequency above which a weight's code is held at its rounded running mean from the
    next step on, in the tracker alone (0: never).
    """

    def __init__(self, momentum: float, freeze: float = 0.0) -> None:
        self.momentum = momentum
        self.freeze = freeze
        self.previous: Tensor | None = None
        self.direction = self.frequency = self.total = self.oscillated = torch.zeros(())

    @torch.no_grad()
    def update(self, codes: Tensor) -> Tensor:
        """Take the codes after one step (floats holding integers); returns them as tracked."""
        if self.previous is None:
            self._start(codes)
        assert self.previous is not None
        codes = torch.where(self.held, self.held_code, codes) if self.freeze > 0 else codes
        move = (self.previous - codes).round()
        oscillated = reversals(move, self.direction, self.frequency, self.momentum)
        self.oscillated = oscillated
        self.total += oscillated
        if self.freeze > 0:
            self._freeze(codes)
        self.previous = codes
        return codes

    def share(self) -> float:
        """Share of the weights whose frequency is above OSCILLATING."""
        return float((self.frequency > OSCILLATING).double().mean())

    def _start(self, codes: Tensor) -> None:
        self.previous = codes.clone()
        self.frequency = torch.zeros_like(codes)
        self.direction = torch.zeros_like(codes)
        self.total = torch.zeros_like(codes)
        self.mean = codes.clone()
        self.held = torch.zeros_like(codes, dtype=torch.bool)
        self.held_code = torch.zeros_like(codes)

    def _freeze(self, codes: Tensor) -> None:
        """From the next call on, hold the codes of the weights that oscillate too often, at their
        mean before this call; one that is still too frequent takes its mean anew."""
        above = self.frequency > self.freeze
        self.held_code = torch.where(above, self.mean.round(), self.held_code)
        self.held |= above
        self.mean.mul_(1 - self.momentum).add_(codes, alpha=self.momentum)
