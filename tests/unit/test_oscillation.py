"""The oscillation metric against a loop over single weights."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from suite.quant.oscillation import OSCILLATING, Oscillation


def reversals(codes: list[float]) -> list[bool]:
    """After every step but the first: did one weight move against its last move?"""
    found, last = [], 0.0
    for before, now in pairwise(codes):
        move = now - before
        found.append(move != 0 and move * last < 0)
        last = move if move else last
    return found


def walk(steps: int, weights: int) -> Tensor:
    """Codes that move up, down or not at all, [steps, weights]."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(-1, 2, (steps, weights), generator=generator).cumsum(0).float()


@pytest.mark.parametrize("momentum", [0.001, 0.1, 1.0])
def test_frequencies_are_running_means_of_reversals(momentum: float) -> None:
    codes = walk(60, 25)
    tracker = Oscillation(momentum)
    for step in codes:
        tracker.update(step)
    for weight in range(25):
        seen, expected = reversals(codes[:, weight].tolist()), 0.0
        for reversed_ in seen:
            expected = momentum * reversed_ + (1 - momentum) * expected
        assert tracker.total[weight].item() == sum(seen)
        assert tracker.frequency[weight].item() == pytest.approx(expected, rel=1e-4, abs=1e-7)


def test_the_first_codes_count_no_move_and_a_rest_keeps_the_direction() -> None:
    tracker = Oscillation(momentum=0.5)
    history = []
    for code in (5.0, 6.0, 6.0, 5.0, 5.0, 4.0, 7.0):
        tracker.update(torch.tensor([code]))
        history.append(tracker.oscillated.item())
    assert history == [False, False, False, True, False, False, True]


def test_the_share_counts_weights_above_the_threshold() -> None:
    tracker = Oscillation(momentum=1.0)
    for codes in ([0.0, 0.0], [1.0, 1.0], [0.0, 2.0]):
        tracker.update(torch.tensor(codes))
    assert OSCILLATING == 0.005
    assert tracker.share() == 0.5


def test_a_weight_that_oscillates_too_often_is_held_at_its_rounded_mean() -> None:
    tracker = Oscillation(momentum=0.4, freeze=0.3)
    returned = [
        tracker.update(torch.tensor([code, 2.0])).tolist() for code in (0.0, 1.0, 0.0, 9.0, -9.0)
    ]
    # Running mean of the first weight: 0, 0.4, 0.24; it reverses at the third step.
    assert tracker.held.tolist() == [True, False]
    assert returned == [[0, 2], [1, 2], [0, 2], [0, 2], [0, 2]]
    assert tracker.held_code[0].item() == 0


def test_without_a_threshold_nothing_is_held() -> None:
    tracker = Oscillation(momentum=1.0)
    for codes in walk(30, 10):
        assert torch.equal(tracker.update(codes), codes)
    assert not tracker.held.any()
