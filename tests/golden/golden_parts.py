"""Parts of the golden values that are quick to replay, and what a report says of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

import numpy as np

from suite.certify import GOLDEN, Report

Arrays = Mapping[str, np.ndarray]

MODEL = "deit_w4a4/"
SLOW = r"traj_losses_total_reg|sd_after5/|eval_logits_after"


def stored(file: str, pattern: str) -> dict[str, np.ndarray]:
    """The arrays of a golden file whose keys match."""
    with np.load(GOLDEN / file, allow_pickle=False) as content:
        return {name: content[name] for name in content.files if re.match(pattern, name)}


@cache
def parts() -> Arrays:
    """Everything of P1 and LSQ but whole models."""
    return {
        **stored("variation.npz", r"(?!deit_|swin_|sret_)"),
        **stored("osc_freeze.npz", ""),
        **stored("baselines.npz", "ref_lsq_"),
    }


@cache
def model() -> Arrays:
    """One whole model, without its five training steps."""
    return {k: v for k, v in stored("variation.npz", MODEL).items() if not re.search(SLOW, k)}


def groups(report: Report) -> set[str]:
    """First words of the groups that were compared."""
    return {result.group.split()[0] for result in report.results if result.compared}


def failing(report: Report) -> set[str]:
    """First words of the groups that are out of tolerance."""
    return {result.group.split()[0] for result in report.results if not result.ok}
