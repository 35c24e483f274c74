"""The phase talos of infra in the scripted ring, with the delays of `metal.yaml`, beside the longest path through them.

The real phase, engine, journal and views run; machines and programs are the ring's.

Run: `.venv/bin/python -m bench.talos`.
"""

from __future__ import annotations

import tempfile
from dataclasses import astuple, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bench.engine import PROFILE, SCALE
from bench.table import Row, show
from bootstrap.host import yaml_io
from bootstrap.host.objects import mapping
from phases.controlplane import API_INTERVAL, STEADY
from tests.scripted.machines import Delays
from tests.scripted.scenario import TALOS, Scenario

if TYPE_CHECKING:
    from inventory.model import Cluster

# Runs with other fractions of a second each, so that a look is not always due when something happens.
RUNS: Final = 5
FRACTION: Final = 0.17


def read_delays() -> Delays:
    """The delays of the profile."""
    machines = mapping(yaml_io.load(PROFILE.read_bytes(), source=PROFILE.name), "talos")
    return Delays(**{name: float(str(seconds)) for name, seconds in machines.items()})


def longest_path(delays: Delays, cluster: Cluster) -> float:
    """What the world alone takes, and the pauses that a gate with several looks in a row makes by rule.

    All machines install at the same time; etcd takes its members one by one, as a learner and then as a voter.
    """
    joins = 2 * (len(cluster.control_planes) - 1) * delays.join
    return delays.install + delays.boot + delays.etcd + joins + delays.api + (STEADY - 1) * API_INTERVAL


def shifted(delays: Delays, number: int) -> Delays:
    """The delays of one of several runs."""
    part = number * FRACTION
    return replace(delays, install=delays.install + part, etcd=delays.etcd + part / 2, api=delays.api + part / 3)


def measure(delays: Delays, **order: Any) -> tuple[float, float]:
    """Seconds that the phase took, and those of its longest path.

    Raises:
        RuntimeError: the run failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        scenario = Scenario(Path(folder) / "scenario", cluster="infra", delays=delays)
        ran = scenario.run(**TALOS, **order)
        if ran.exit_code:
            raise RuntimeError(ran.stderr)
        return float(ran.kept("seconds.json")["talos"]), longest_path(delays, scenario.inventory)


def main() -> None:
    """Measure and print."""
    delays = read_delays()
    pairs = [measure(shifted(delays, number)) for number in range(RUNS)]
    taken, path = (sum(values) / RUNS for values in zip(*pairs, strict=True))
    rows = [Row(f"1:1, mean of {RUNS} runs", taken, path, "its longest path", "s")]
    worst = max(pairs, key=lambda pair: pair[0] / pair[1])
    rows.append(Row("1:1, the worst of them", *worst, "its longest path", "s"))
    quick = Delays(*(seconds / SCALE for seconds in astuple(delays)))
    rows.append(Row(f"1:{SCALE:.0f}", *measure(quick, real_time=True), "its longest path", "s"))
    show(rows)


if __name__ == "__main__":
    main()
