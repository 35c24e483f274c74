"""Variables that a cluster sets: which of them nothing uses, because their names are misspelt."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bootstrap.host.objects import mapping, name_of
from gitops import origins

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from bootstrap.host.errors import Problem
    from bootstrap.host.objects import Object

# Of two names of six letters or more that differ in one letter at least this share is equal (difflib's ratio).
_ONE_LETTER: Final = 0.83


@dataclass(frozen=True)
class Settings:
    """A ConfigMap that variables come from.

    Attributes:
        item: the ConfigMap.
        folder: of the Kustomization that applies it, relative to the repository.
    """

    item: Object
    folder: str


def misspelt(
    root: Path, every: Collection[Settings], *, used: Collection[str], known: Collection[str]
) -> Iterator[Problem]:
    """Variables that nothing uses, where what is used has nearly that name and is not set.

    A reference with a default hides such a mistake: it gets the default. A variable that nothing uses and that
    resembles nothing is left alone, because what uses it may come later.

    Args:
        root: the repository.
        every: where variables come from.
        used: names that the tree asks for, with a default or without.
        known: names that anything sets.
    """
    wanting = sorted(set(used) - set(known))
    for settings in every:
        for name in sorted(set(mapping(settings.item, "data")) - set(used)):
            close = difflib.get_close_matches(name, wanting, n=1, cutoff=_ONE_LETTER)
            if close:
                yield origins.problem(
                    f"{name} of ConfigMap {name_of(settings.item)} is used by nothing; did you mean {close[0]}?",
                    root=root, folder=settings.folder, item=settings.item, at=("data", name),
                )  # fmt: skip
