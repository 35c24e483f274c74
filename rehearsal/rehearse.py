"""One rehearsal as a command: the lab of a real cluster brought up, a run inside it, an accident, its judgement."""

from __future__ import annotations

import json
import shutil
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from bootstrap.engine.journal import FILE
from bootstrap.host import yaml_io
from bootstrap.host.errors import ExitCode, FirstlightError
from phases.world import state_folder
from rehearsal.catalogue import find
from rehearsal.entry import bring_up
from rehearsal.escort import accompany
from rehearsal.lab import Lab
from rehearsal.overlay import rehearsal_documents
from rehearsal.settings import OVERLAY_FILE
from rehearsal.wiring import read_wiring

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from bootstrap.host.commands import ShCommandRunner
    from inventory.model import Cluster
    from rehearsal.catalogue import Fault

# The journal is a local file of some hundred lines: reading it twice a second costs nothing.
LOOK_SECONDS: Final = 0.5


@dataclass(frozen=True)
class Place:
    """Where rehearsals take place.

    Attributes:
        root: the repository.
        cache: the tool's cache folder.
        runner: runs programs.
        report: told what is being done.
        charts: folder of charts in place of the lab's own; None for none.
    """

    root: Path
    cache: Path
    runner: ShCommandRunner
    report: Callable[[str], None]
    charts: Path | None = None


def rehearse(place: Place, cluster: Cluster, command: Sequence[str], *, fault: str, keep: bool) -> int:
    """Run a command inside the lab of a rehearsed cluster and end the lab, unless it ran before.

    Args:
        place: where.
        cluster: as `rehearsed` gives it.
        command: argv of the run; it finds itself inside the lab.
        fault: of the catalogue, for the last machine; empty for none.
        keep: leave the lab up.

    Returns:
        The run's exit code; with a fault 0 or 1, whether it was felt and the run ended as it should.

    Raises:
        InputError: no such fault, or a lab cannot run here, or another's does.
        FirstlightError: the lab did not come up, or the fault could not be made to happen.
    """
    chosen = find(fault) if fault else None
    lab = Lab(place.cache)
    lab.check_owner(place.root, cluster.name)
    stays = keep or bool(lab.owner())
    try:
        place.report(
            f"REHEARSAL of {cluster.name} on {len(cluster.nodes)} virtual machines: the real ones are not asked"
        )
        bring_up(place.root, place.cache, cluster, place.runner, place.report, charts=place.charts)
        _show_overlay(place, cluster, lab)
        accident = Accident(place, cluster, lab, chosen) if chosen else None
        if accident:
            accident.before()
        code = accompany(lambda: lab.enter(command), accident.beside if accident else lambda: None)
        if accident:
            return accident.judge(code)
        place.report(f"REHEARSAL of {cluster.name} ended with exit code {code}")
        return code
    finally:
        if stays:
            place.report("the lab of the rehearsal stays up; ./invoke lab.down ends it")
        else:
            lab.down()


class Accident:
    """A fault that happens to the last machine of a rehearsal.

    Args:
        place: where it is told.
        cluster: as `rehearsed` gives it.
        lab: it happens in it.
        fault: what happens.
    """

    def __init__(self, place: Place, cluster: Cluster, lab: Lab, fault: Fault) -> None:
        self._fault = fault
        self._cluster = cluster
        self._lab = lab
        self._report = place.report
        present = [node.name for node in cluster.nodes if not node.absent]
        self._machine, self._name = len(present) - 1, present[-1]
        self._journal = state_folder(place.root, cluster.name, rehearsal=True) / FILE
        self._read = self._journal.stat().st_size if self._journal.exists() else 0

    def before(self) -> None:
        """Let it happen, if it is one that comes before a run.

        Raises:
            FirstlightError: it could not be made to happen.
        """
        if not self._fault.begins:
            self._begin()

    def beside(self) -> None:
        """Do the rest beside the run: let it happen when its time has come, mend it when that is over."""
        threading.Thread(target=self._follow, name="accident", daemon=True).start()

    def judge(self, code: int) -> int:
        """Whether the fault was felt and the run ended as it should; 0 or 1.

        Args:
            code: exit code of the run.
        """
        felt = int(str(self._lab.ask("fired", name=self._fault.name)))
        said = f"REHEARSAL of {self._cluster.name} with {self._fault.name}, felt {felt} times"
        self._report(f"{said}: the tool should {self._fault.wanted}; the run ended with exit code {code}")
        if not felt:
            self._report("a fault that was not felt proves nothing")
        elif code not in self._fault.ends:
            wanted = " or ".join(str(int(one)) for one in sorted(self._fault.ends))
            self._report(f"wanted was exit code {wanted}")
        return int(ExitCode.DONE if felt and code in self._fault.ends else ExitCode.FAILED)

    def _follow(self) -> None:
        with suppress(FirstlightError, OSError):  # the lab may have ended with the run
            if self._fault.begins:
                while not self._has_begun():
                    time.sleep(LOOK_SECONDS)
                self._begin()
            if self._fault.lasts:
                time.sleep(self._fault.lasts)
                self._lab.ask("mend", name=self._fault.name, machine=self._machine)
                self._report(f"REHEARSAL: {self._fault.name} is mended")

    def _begin(self) -> None:
        self._report(f"REHEARSAL: {self._name}: {self._fault.does}")
        self._lab.ask("fault", name=self._fault.name, machine=self._machine)

    def _has_begun(self) -> bool:
        """Whether the run's journal holds the end of the action that the fault waits for, at its machine."""
        if not self._journal.exists():
            return False
        with self._journal.open("rb") as file:
            file.seek(self._read)
            lines = file.read().split(b"\n")[:-1]
        return any(self._is_signal(json.loads(line)) for line in lines if b'"action ended"' in line)

    def _is_signal(self, entry: dict[str, Any]) -> bool:
        words = str(entry.get("holds", {}).get("description", "")).split()
        return self._fault.begins in " ".join(words) and self._name in words


def _show_overlay(place: Place, cluster: Cluster, lab: Lab) -> None:
    kept = state_folder(place.root, cluster.name, rehearsal=True) / OVERLAY_FILE
    kept.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    shutil.copyfile(lab.folder / OVERLAY_FILE, kept)
    place.report(f"over the files of {cluster.name} lie, beside the lab's CA and what emulation asks for ({kept}):")
    text = yaml_io.dump_all(rehearsal_documents(place.root, cluster, read_wiring(place.root, cluster)))
    place.report("\n" + text.rstrip())
