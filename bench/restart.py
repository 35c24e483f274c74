"""From a restart after kill -9 to the first call that does something, in the scripted ring.

A run is killed just before its n-th action, for each n. The next one is a fresh interpreter, as a person's would be;
its time counts from before its process begins until it has its first effect on the world, which ends it. Machines and
programs take no time there, so all of it is ours: imports, lock, journal, a look at all that is done already.

Run: `.venv/bin/python -m bench.restart`.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from bench.table import beside, show
from bootstrap.host.commands import Command, CommandError, ShCommandRunner
from bootstrap.host.secret import Redactor
from tests.scripted.conduct import Order, in_child
from tests.scripted.scenario import Scenario
from tests.scripted.trap import Point, Trap

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT: Final = Path(__file__).parents[1]
# More than any run has actions; the first that is not reached ends the bench.
MANY: Final = 100
NAME: Final = "restart"


class Took(NamedTuple):
    """Seconds of a process by the wall and by the processor; the first grow on a busy machine, the second do not."""

    wall: float
    processor: float


def took(*arguments: str) -> Took:
    """What a fresh interpreter takes, however it ends."""
    runner, began, before = ShCommandRunner(Redactor()), time.perf_counter(), of_children()
    try:
        runner.run(Command(Path(sys.executable), arguments, folder=ROOT))
    except CommandError as error:
        if error.exit_code_seen is not None:
            raise
    return Took(time.perf_counter() - began, of_children() - before)


def of_children() -> float:
    """Seconds of the processor that ended children took."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def measure(folder: Path) -> tuple[list[Took], list[Took]]:
    """What each restart took that had something to do, and what the imports alone took."""
    restarts: list[Took] = []
    imports: list[Took] = []
    for number in range(1, MANY):
        scenario = Scenario(folder / str(number))
        if not scenario.run(trap=Trap(Point.BEFORE_LINE, number)).trapped:
            return restarts, imports
        restarted = took("-m", "bench.restart", str(scenario.place), str(scenario.world))
        if (scenario.place / "said" / NAME / "trapped").exists():
            restarts.append(restarted)
            imports.append(took("-c", "import tests.scripted.conduct"))
    raise AssertionError(f"a run has more than {MANY} actions")


def main(arguments: Sequence[str]) -> None:
    """Measure and print; with a place and a world, be the restarted run."""
    if arguments:
        place, world = map(Path, arguments)
        in_child(Order(place, NAME, world, Trap(Point.EFFECT, 1), report=True))
    with tempfile.TemporaryDirectory() as folder:
        restarts, imports = measure(Path(folder))
    what = "a fresh interpreter's imports"
    whole = beside(f"{len(restarts)} restarts: to the first effect", walls(restarts), walls(imports), what)
    show([*whole, *beside("processor time of that", processors(restarts), processors(imports), what)])


def walls(all_took: Sequence[Took]) -> list[float]:
    """By the wall."""
    return [one.wall for one in all_took]


def processors(all_took: Sequence[Took]) -> list[float]:
    """By the processor."""
    return [one.processor for one in all_took]


if __name__ == "__main__":
    main(sys.argv[1:])
