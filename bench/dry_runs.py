"""What the dry runs of infra and apps cost at once, with nothing kept and unchanged, beside helmfile alone.

Run: `.venv/bin/python -m bench.dry_runs`. Charts come from the lab's internet without machines, in namespaces of its
own; what is kept goes into a cache of its own, because the lab's charts stand under the names of real ones.
"""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.table import Row, show
from bootstrap.host.commands import Command, ShCommandRunner
from bootstrap.host.configuration import resolve
from bootstrap.host.programs import Use, names_for
from bootstrap.host.secret import Redactor
from bootstrap.host.settings import CACHE
from bootstrap.host.streams import write_line
from bootstrap.host.toolbox import Toolbox
from gitops.build import Kustomize
from gitops.loader import load as load_tree
from gitops.releases import write_core
from inventory.loader import load
from kube.crds import selected
from kube.helm import helm_environment
from kube.helmfile import Helmfile
from phases.definitions import HELMFILE
from rehearsal import without_machines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

ROOT: Final = Path(__file__).parents[1]
CLUSTERS: Final = ("infra", "apps")
# Enough for a median on a noisy machine; a cold round takes ten seconds.
ROUNDS: Final = 5
# A dry run that takes longer has no figure to give.
SECONDS: Final = 300.0


def main() -> None:
    """Measure and print; the first time only starts itself anew where charts can be had."""
    cache, runner = resolve({}, os.environ)[CACHE], ShCommandRunner(Redactor())
    if not without_machines.is_inside():
        again = [sys.executable, "-m", "bench.dry_runs"]
        without_machines.enter(ROOT, cache, load(ROOT, CLUSTERS[0]), runner, _tell, command=again)
    with without_machines.internet(_tell), tempfile.TemporaryDirectory(prefix="bench-") as folder:
        _measure(Path(folder), cache, runner)


def _measure(folder: Path, cache: Path, runner: ShCommandRunner) -> None:
    toolbox = Toolbox(ROOT, cache, runner, _tell, os.environ.get("PATH", ""))
    programs = toolbox.ensure(names_for(Use.OPERATOR))
    alone: list[float] = []
    cold: list[float] = []
    warm: list[float] = []
    for number in range(ROUNDS):
        place = folder / str(number)
        place.mkdir()
        works: list[Callable[[], object]] = [
            work for name in CLUSTERS for work in _renderings(place, name, runner, programs)
        ]
        alone.append(_seconds(partial(_together, works)))
        own = place / "cache"
        own.mkdir()
        (own / "programs").symlink_to(cache / "programs")
        works = [partial(runner.run, _dry_run(name, own)) for name in CLUSTERS]
        cold.append(_seconds(partial(_together, works)))
        warm.append(_seconds(partial(_together, works)))
        shutil.rmtree(place)
    beside = "helmfile | yq of both, at once"
    show([
        Row("dry runs of infra and apps, nothing kept", statistics.median(cold), statistics.median(alone), beside, "s"),
        Row("the same, unchanged", statistics.median(warm), statistics.median(alone), beside, "s"),
    ])  # fmt: skip


def _renderings(
    place: Path, cluster: str, runner: ShCommandRunner, programs: dict[str, Path]
) -> Iterable[Callable[[], bytes]]:
    """Both helmfiles of a cluster rendered, the definitions through yq, as people do it by hand."""
    core = place / cluster
    write_core(load_tree(ROOT, cluster, Kustomize(runner, programs["kustomize"])), core)
    for name in (HELMFILE, "01-core.yaml.gotmpl"):
        path = ROOT / "bootstrap" / "helmfile.d" / name
        environment = {**helm_environment(place / f"{cluster}-{name}"), "FIRSTLIGHT_CORE": str(core)}
        file = Helmfile(runner, programs["helmfile"], programs["helm"], path, cluster, environment)
        yield partial(selected, file, programs["yq"]) if name == HELMFILE else file.template


def _dry_run(cluster: str, cache: Path) -> Command:
    environment = {"FIRSTLIGHT_CACHE": str(cache), "SSL_CERT_FILE": os.environ["SSL_CERT_FILE"]}
    words = ("-P", str(ROOT / "tasks.py"), "bootstrap", "--dry-run", "--cluster", cluster)
    return Command(Path(sys.executable), words, environment, timeout=SECONDS)


def _together(works: Iterable[Callable[[], object]]) -> None:
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda work: work(), works))


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _tell(text: str) -> None:
    write_line(sys.stderr, text)


if __name__ == "__main__":
    main()
