"""From a condition becoming true in the world to the dependent call, where the source can be watched.

Run: `.venv/bin/python -m bench.gates`.
"""

from __future__ import annotations

import contextlib
import tempfile
import threading
import time
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Final

from bench.table import beside, show
from bootstrap.engine import Context, Done, Found, Gate, Observation, Phase, Step, ToDo
from bootstrap.engine.journal import FILE, Journal
from bootstrap.engine.testing import run_phases
from bootstrap.host.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bootstrap.engine.seams import Recorder
    from bootstrap.engine.step import AnyStep

# A run has some thirty steps; fifty runs of twenty gates each are a thousand gates.
RUNS: Final = 50
GATES: Final = 20
# Milliseconds after which a condition becomes true: long enough for the gate to be asleep by then.
DELAYS: Final = (5, 15)


class Source:
    """A condition that becomes true by itself, on another thread, after a while."""

    def __init__(self, delay: float) -> None:
        self.became_true = 0.0
        self._delay = delay

    def check(self, _ctx: Context) -> Observation[str]:
        """One look."""
        return Observation(self.became_true > 0, "there" if self.became_true else "absent", "value")

    @contextlib.contextmanager
    def watch(self, _ctx: Context, wake: Callable[[], None]) -> Iterator[None]:
        """Tells when it became true."""

        def become_true() -> None:
            time.sleep(self._delay)
            self.became_true = time.perf_counter()
            wake()

        thread = threading.Thread(target=become_true)
        thread.start()
        yield
        thread.join()


def chain(random: Random, latencies: list[float]) -> Phase:
    """Steps that wait one after the other; each notes how late it is called after the one before could end."""
    steps: list[AnyStep] = []
    sources = [Source(random.uniform(*DELAYS) / 1000) for _ in range(GATES)]

    def step(number: int) -> Step[None, str]:
        def probe(_ctx: Context) -> Found[None, str]:
            if number:
                latencies.append(time.perf_counter() - sources[number - 1].became_true)
            return ToDo(None, "absent")

        def gate(_ctx: Context) -> Gate[str]:
            source = sources[number]
            return Gate(description=f"condition {number}", check=source.check, interval=10.0, watch=source.watch)

        needs = (f"s{number - 1}",) if number else ()
        return Step(name=f"s{number}", title="Wait", probe=probe, gate=gate, needs=needs)

    def last(_ctx: Context) -> Found[None, str]:
        latencies.append(time.perf_counter() - sources[-1].became_true)
        return Done("called", "value")

    steps += [step(number) for number in range(GATES)]
    steps.append(Step(name="last", title="Be called", probe=last, needs=(f"s{GATES - 1}",)))
    return Phase(name="bench", title="Bench", steps=tuple(steps), target=600.0)


def bare(random: Random) -> float:
    """Seconds from one thread setting an event to another one running."""
    event, set_at = threading.Event(), [0.0]

    def set_it() -> None:
        time.sleep(random.uniform(*DELAYS) / 1000)
        set_at[0] = time.perf_counter()
        event.set()

    thread = threading.Thread(target=set_it)
    thread.start()
    event.wait()
    came = time.perf_counter()
    thread.join()
    return came - set_at[0]


def gates(random: Random, recorder: Recorder | None) -> list[float]:
    """Latencies in seconds of one run."""
    latencies: list[float] = []
    run_phases([chain(random, latencies)], clock=SystemClock(), recorder=recorder)
    return latencies


def main() -> None:
    """Measure and print."""
    random = Random(0)  # noqa: S311 # the same delays in every run
    alone: list[float] = []
    journalled: list[float] = []
    baseline: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / FILE
        with Journal.open(path, cluster="bench", tool="bench", redact=str) as journal:
            for _ in range(RUNS):
                alone += gates(random, None)
                journalled += gates(random, journal)
                baseline += [bare(random) for _ in range(GATES)]
    what = "a bare event from thread to thread"
    show([
        *beside(f"{len(alone)} watched gates: true to dependent call", alone, baseline, what),
        *beside("the same with a journal on disk", journalled, baseline, what),
    ])  # fmt: skip


if __name__ == "__main__":
    main()
