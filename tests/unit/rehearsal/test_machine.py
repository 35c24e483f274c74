"""A machine's command line, the key of its template, its events, and the trouble that it is in."""

from __future__ import annotations

import json
import shutil
import socket
import threading
import time
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from bootstrap.host.commands import Command
from rehearsal import monitor
from rehearsal.faults import ENCRYPTED, other_disk, other_macs
from rehearsal.internet import registry_environment
from rehearsal.machine import Machine, template_of
from rehearsal.monitor import EVENTS_SOCKET, State, Watch
from tests.unit.rehearsal.bench import MACHINE, OLD_QEMU, make_settings, runner, system

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from rehearsal.settings import Emulator, LabSettings

FULL = {"event": "BLOCK_IO_ERROR", "data": {"device": "virtio0", "action": "stop", "nospace": True}}
# Another error is told to the machine's kernel, which goes on.
BAD_SECTOR = {"event": "BLOCK_IO_ERROR", "data": {"device": "virtio0", "action": "report", "nospace": False}}
STOP, RESUME = {"event": "STOP"}, {"event": "RESUME"}


@pytest.fixture
def settings(tmp_path: Path) -> LabSettings:
    return make_settings(tmp_path, tmp_path, {"qemu-img": system("qemu-img")})


class _Starting:
    """A runner that starts `sleep` in QEMU's place."""

    def __init__(self) -> None:
        self.asked: list[Command] = []

    def start(self, command: Command, *, log: Path) -> Any:
        self.asked.append(command)
        return runner().start(Command(system("sleep"), ("60",)), log=log)


def test_the_chosen_qemu_is_started_with_its_accelerator(settings: LabSettings) -> None:
    started = _Starting()
    machine = Machine(0, MACHINE, settings)
    machine.folder.mkdir(parents=True)
    machine.start(started)  # type: ignore[arg-type]  # the one method that is called
    machine.end()
    (command,) = started.asked
    assert command.program == settings.emulator.program
    words = [str(word) for word in command.arguments]
    assert words[words.index("-accel") + 1] == "tcg"
    assert f"unix:{machine.folder}/events.sock,server=on,wait=off" in words
    assert words.count("-device") == 4
    assert "virtio-net-pci,netdev=net1,mac=52:54:00:13:01:11,romfile=" in words


def test_memory_that_one_qemu_saved_is_for_that_one_only(settings: LabSettings) -> None:
    def template(emulator: Emulator) -> Path:
        return template_of([Machine(0, MACHINE, replace(settings, emulator=emulator))], settings.folder)

    ours = settings.emulator
    others = [
        replace(ours, version="7.2.23 (Debian)"),
        replace(ours, program=ours.program.with_name("another")),
        replace(ours, accelerator="kvm"),
    ]
    assert template(ours) == template(replace(ours))
    assert len({template(emulator) for emulator in (ours, *others)}) == 4


def test_a_template_is_for_all_machines_of_a_lab_together(settings: LabSettings) -> None:
    one, other = Machine(0, MACHINE, settings), Machine(1, replace(MACHINE, name="lab-02"), settings)
    templates = {template_of(machines, settings.folder) for machines in ([one], [other], [one, other], [other, one])}
    assert len(templates) == 4


def words_of(machine: Machine, begin: Callable[[_Started], None]) -> list[str]:
    """The arguments of the QEMU that is started, which is ended at once."""
    started = _Started()
    begin(started)
    machine.end()
    return [str(word) for word in started.asked[-1].arguments]


class _Started(_Starting):
    """As `_Starting`, and runs what makes disks."""

    def run(self, command: Command) -> Any:
        return runner().run(command)


def test_a_switch_reads_packets_as_they_are_on_the_wire_from_links_of_a_speed(settings: LabSettings) -> None:
    for lacp in (False, True):
        machine = Machine(0, MACHINE, replace(settings, lacp=lacp))
        machine.folder.mkdir(parents=True, exist_ok=True)
        words = words_of(machine, machine.start)  # type: ignore[arg-type]  # the one method that is called
        for asked in ("vnet_hdr=off", "speed=10000,duplex=full"):
            assert (asked in " ".join(words)) is lacp


def test_every_disk_is_there_and_kept(settings: LabSettings, tmp_path: Path) -> None:
    machine = Machine(0, replace(MACHINE, more_disks=(1, 2)), settings)
    machine.create(runner(), None)
    words = words_of(machine, machine.start)  # type: ignore[arg-type]  # the one method that is called
    assert [word for word in words if word.startswith("virtio-blk-pci")] == [
        f"virtio-blk-pci,drive=disk{number}" for number in range(3)
    ]
    machine.keep(tmp_path)
    assert len(list(tmp_path.glob("lab-01-disk*.qcow2"))) == 3
    shutil.rmtree(machine.folder)
    machine.create(runner(), tmp_path)
    assert {path.name for path in machine.folder.iterdir()} == {"disk.qcow2", "disk1.qcow2", "disk2.qcow2"}


def test_a_machine_that_is_off_is_not_in_trouble_and_boots_what_was_installed(settings: LabSettings) -> None:
    machine = Machine(0, MACHINE, settings)
    machine.create(runner(), None)
    assert "-kernel" in words_of(machine, machine.start)  # type: ignore[arg-type]  # the one method that is called
    machine.switch_off()
    assert (machine.state, machine.trouble) == (State.OFF, "")
    assert "-kernel" in words_of(machine, machine.switch_on)  # type: ignore[arg-type]  # as above
    raw = machine.folder / "raw"
    raw.write_bytes(b"\xeb".ljust(510, b"\0") + b"\x55\xaa" + bytes(1 << 20))
    disk = str(machine.folder / "disk.qcow2")
    runner().run(Command(system("qemu-img"), ("convert", "-f", "raw", "-O", "qcow2", str(raw), disk)))
    assert "-kernel" not in words_of(machine, machine.switch_on)  # type: ignore[arg-type]  # as above


def test_another_machine_stands_in_with_disks_of_its_own(settings: LabSettings) -> None:
    machine = Machine(0, MACHINE, settings)
    machine.create(runner(), None)
    before = (machine.folder / "disk.qcow2").read_bytes()
    other = other_macs(other_disk(MACHINE))
    words = words_of(machine, lambda started: machine.stand_in(started, other))  # type: ignore[arg-type]  # as above
    assert "virtio-net-pci,netdev=net1,mac=50:54:00:13:01:11,romfile=" in words
    assert "ide-hd,drive=disk0" in words
    assert (machine.folder / "disk.qcow2").read_bytes() == before
    assert (machine.folder / "other.qcow2").exists()


def test_a_machine_that_may_wait_leaves_the_processors_to_others(settings: LabSettings) -> None:
    settings = replace(settings, programs={**settings.programs, "nice": system("nice")})
    usual, patient = (Machine(0, replace(MACHINE, niceness=by), settings) for by in (0, 19))
    usual.create(runner(), None)
    words = words_of(usual, usual.start)  # type: ignore[arg-type]  # as above
    prefix = ["--adjustment=19", str(settings.emulator.program)]
    assert words_of(patient, patient.start) == [*prefix, *words]  # type: ignore[arg-type]  # as above


def test_the_disk_of_a_machine_that_stands_in_begins_with_what_it_is_given(settings: LabSettings) -> None:
    machine = Machine(0, MACHINE, settings)
    machine.create(runner(), None)
    words_of(machine, lambda started: machine.stand_in(started, MACHINE, ENCRYPTED))  # type: ignore[arg-type]  # as above
    whole = machine.folder / "whole"
    arguments = ("dd", "-O", "raw", "bs=4096", "count=1", f"if={machine.folder / 'other.qcow2'}", f"of={whole}")
    runner().run(Command(settings.programs["qemu-img"], arguments))
    assert whole.read_bytes() == ENCRYPTED


@pytest.mark.parametrize(
    ("version", "accelerator", "wanted"), [(OLD_QEMU, "tcg", True), (OLD_QEMU, "kvm", False), ("8.2.0", "tcg", False)]
)
def test_chacha_is_for_an_old_qemu_without_acceleration(
    settings: LabSettings, version: str, accelerator: str, *, wanted: bool
) -> None:
    environment = registry_environment(replace(settings.emulator, version=version, accelerator=accelerator))
    assert (environment.get("GODEBUG") == "cpu.aes=off") is wanted
    assert environment["OTEL_TRACES_EXPORTER"] == "none"


def test_a_machine_that_ended_says_what_its_qemu_said(settings: LabSettings) -> None:
    machine = Machine(0, MACHINE, settings)
    assert (machine.state, machine.trouble) == (State.ENDED, "its QEMU ended and printed nothing")
    machine.folder.mkdir(parents=True)
    (machine.folder / "qemu.log").write_text("warning: old\nqemu: could not open disk\n")
    assert machine.trouble == "its QEMU ended and printed qemu: could not open disk"


# events --------------------------------------------------------------------------------------------------------


class Qemu:
    """A QMP server that sends what it is told."""

    def __init__(self, path: Path) -> None:
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(path))
        self._server.listen()
        self.lives = True

    def accept(self) -> None:
        connection, _ = self._server.accept()
        self._stream = connection.makefile("rw")
        connection.close()
        self.send({"QMP": {"version": {}}})
        assert json.loads(self._stream.readline())["execute"] == "qmp_capabilities"
        self.send({"return": {}})

    def send(self, message: object) -> None:
        self._stream.write(json.dumps(message) + "\n")
        self._stream.flush()

    def end(self) -> None:
        self.lives = False
        self._stream.close()
        self._server.close()


class Watched(NamedTuple):
    qemu: Qemu
    watch: Watch
    reported: list[str]
    resumed: threading.Event

    def shows(self, state: State) -> bool:
        deadline = time.monotonic() + 10  # another thread of this very process
        while self.watch.state is not state:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        return True


@pytest.fixture
def watched(tmp_path: Path, free: Callable[[int], None]) -> Iterator[Watched]:
    free(0)
    qemu, reported, resumed = Qemu(tmp_path / EVENTS_SOCKET), list[str](), threading.Event()
    watch = Watch(tmp_path / EVENTS_SOCKET, resumed.set, reported.append)
    watch.start(lambda: qemu.lives)
    qemu.accept()
    yield Watched(qemu, watch, reported, resumed)
    free(1 << 40)
    qemu.end()


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Says how many bytes are free from now on."""
    monkeypatch.setattr(monitor, "ROOM_SECONDS", 0.01)
    now = [0]
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=now[0]))
    return lambda size: now.__setitem__(0, size)


def test_pauses_are_followed(watched: Watched) -> None:
    assert watched.shows(State.RUNNING)
    watched.qemu.send(STOP)
    assert watched.shows(State.PAUSED)
    watched.qemu.send(RESUME)
    assert watched.shows(State.RUNNING)
    assert watched.reported == []


def test_a_full_disk_is_told_apart_from_a_pause(watched: Watched) -> None:
    watched.qemu.send(FULL)
    watched.qemu.send(FULL)
    watched.qemu.send(STOP)
    assert watched.shows(State.DISK_FULL)
    watched.qemu.send(RESUME)
    assert watched.shows(State.RUNNING)
    assert len(watched.reported) == 1
    assert watched.reported[0].startswith("the disk is full: the machine is stopped until ")


def test_an_error_that_stops_nothing_is_left_to_the_machine(watched: Watched) -> None:
    watched.qemu.send(BAD_SECTOR)
    watched.qemu.send(STOP)
    assert watched.shows(State.PAUSED)
    assert watched.reported == []


def test_a_machine_goes_on_when_the_disk_has_room_again(watched: Watched, free: Callable[[int], None]) -> None:
    watched.qemu.send(FULL)
    assert watched.shows(State.DISK_FULL)
    assert not watched.resumed.wait(0.1)
    free(1 << 31)
    assert watched.resumed.wait(10)
    assert watched.reported[-1] == "the disk has room again: the machine goes on"


def test_the_end_is_noticed(watched: Watched) -> None:
    watched.qemu.lives = False
    watched.qemu._stream.close()
    assert watched.shows(State.ENDED)
