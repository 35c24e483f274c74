"""A scripted world with all that happens in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from tests.scripted.accidents import Accidents
from tests.scripted.flux import Flux
from tests.scripted.helm import Releases
from tests.scripted.machines import Machines
from tests.scripted.model import Model
from tests.scripted.namespaces import Namespaces
from tests.scripted.pods import Pods
from tests.scripted.rival import Rival

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Ring:
    """A world, opened by one process; a context manager that closes it.

    Args:
        file: of the world; made when it is missing.
        now: the process' own time, seconds; whoever only looks has none.
    """

    def __init__(self, file: Path, now: Callable[[], float] = lambda: 0.0) -> None:
        self.model = Model(file, now)
        self.accidents = Accidents(self.model)
        self.machines = Machines(self.model)
        self.releases = Releases(self.model, self.machines)
        self.flux = Flux(self.model, self.machines, self.releases)
        self.pods = Pods(self.model, self.machines)
        self.rival = Rival(self.model)
        self.namespaces = Namespaces(self.model)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.model.close()
