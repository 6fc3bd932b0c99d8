"""The papers' claims as data (tables/claims), and what the records say of each."""

from __future__ import annotations

from suite.claims.judge import HOLDS, MISSING, NOT, UNDECIDED, VERDICTS
from suite.claims.model import Claim, all_claims
from suite.claims.results import ClaimResult, claims

__all__ = [
    "HOLDS",
    "MISSING",
    "NOT",
    "UNDECIDED",
    "VERDICTS",
    "Claim",
    "ClaimResult",
    "all_claims",
    "claims",
]
