"""Names that a person typed wrong, and the ones that were probably meant."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

# Of 1 for the same word: catches a slip of the finger and a missing syllable, not another word.
CUTOFF: Final = 0.6
# As many as a person takes in at a glance.
MOST: Final = 3


def nearest(name: str, known: Iterable[str], *, prefix: str = "") -> str:
    """`nearest: a, b`, or what is known where nothing is near; a prefix that all share and case are not compared."""
    there = sorted(known)
    alike = {each.removeprefix(prefix).lower(): each for each in there}
    close = difflib.get_close_matches(name.removeprefix(prefix).lower(), alike, n=MOST, cutoff=CUTOFF)
    found = [alike[each] for each in close]
    return f"nearest: {', '.join(found)}" if found else f"known: {', '.join(there) or 'none'}"
