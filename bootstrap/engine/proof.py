"""What a run proved, and by what."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ProofKind(StrEnum):
    """How strong a proof is; only the first counts as green."""

    PROVEN = "proven"
    STAND_IN = "stand-in"
    UNPROVEN = "unproven"


@dataclass(frozen=True)
class Proof:
    """One criterion and what was seen of it.

    Attributes:
        criterion: what was to be shown, for example `pods reach each other across nodes`.
        evidence: what was seen; for an unproven criterion why nothing was.
        kind: whether the real thing, a stand-in or nothing satisfied it.
    """

    criterion: str
    evidence: str
    kind: ProofKind = ProofKind.PROVEN
