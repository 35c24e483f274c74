"""What rendering and validating every machine configuration of the real clusters costs, anew and unchanged.

Run: `.venv/bin/python -m bench.configurations`; talosctl must be there (`./invoke tools --names talosctl`).
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.table import Row, show
from bootstrap.host import yaml_io
from bootstrap.host.commands import ShCommandRunner
from bootstrap.host.configuration import resolve
from bootstrap.host.secret import Redactor
from bootstrap.host.settings import CACHE
from bootstrap.host.toolbox import Toolbox
from inventory.loader import load
from talos.client import Talosctl
from talos.preview import Previews

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT: Final = Path(__file__).parents[1]
CLUSTERS: Final = ("infra", "apps")
# Enough for a median on a noisy machine.
ROUNDS: Final = 9


def main() -> None:
    """Measure and print."""
    runner = ShCommandRunner(Redactor())
    toolbox = Toolbox(ROOT, resolve({}, os.environ)[CACHE], runner, print, os.environ.get("PATH", ""))
    program = toolbox.ensure(["talosctl"])["talosctl"]
    talosctl = Talosctl(program, runner)
    clusters = [load(ROOT, name) for name in CLUSTERS]
    count = sum(len(cluster.nodes) for cluster in clusters)
    anew, starts, unchanged, readings = [], [], [], []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:

            def preview(folder: Path = Path(folder)) -> None:
                for cluster in clusters:
                    Previews(program, talosctl, cluster, ROOT, folder).show(cluster.nodes)

            anew.append(_seconds(preview))
            unchanged.append(_seconds(preview))
            readings.append(_seconds(lambda folder=Path(folder): _read(folder)))  # type: ignore[misc] # bound at once
        # Each configuration is generated and validated; talosctl's version is asked once a cluster.
        starts.append(_seconds(lambda: [talosctl.offline("version", "--client") for _ in range(2 * count + 2)]))
    name = f"{count} configurations"
    show([
        Row(f"{name} anew, median", _median(anew), _median(starts), f"{2 * count + 2} starts of talosctl"),
        Row(f"{name} unchanged, median", _median(unchanged), _median(readings), "reading them as YAML"),
    ])  # fmt: skip


def _read(folder: Path) -> None:
    for file in folder.iterdir():
        yaml_io.load_file(file)


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _median(seconds: list[float]) -> float:
    return 1000 * sorted(seconds)[len(seconds) // 2]


if __name__ == "__main__":
    main()
