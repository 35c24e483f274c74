"""Which QEMU runs the machines: every way to the choice, what is remembered of it, and how a newer one is unpacked."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from bootstrap.host.commands import Command, CommandError, Result
from bootstrap.host.errors import InputError
from bootstrap.host.settings import REGISTRY
from rehearsal.emulator import BUNDLE, EMULATION, PROGRAM, VARIABLE, EmulatorChoice, Host, this_host
from rehearsal.preparation import Workshop
from rehearsal.settings import Emulator
from tests.unit.rehearsal.bench import OLD_QEMU

DEBIAN = 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nVERSION_ID="12"\nID=debian\n'
TRIXIE = 'VERSION_ID="13"\nID=debian\n'
UBUNTU = 'ID=ubuntu\nID_LIKE=debian\nVERSION_ID="12"\n'
NEW_QEMU = "10.0.2 (Debian 1:10.0.2+ds-2+deb13u1~bpo12+1)"
NEW_FOLDER = "qemu-10.0.2+ds-2+deb13u1~bpo12+1"
NO_MIRROR = "E: Failed to fetch http://deb.debian.org/debian/dists/bookworm-backports/InRelease  Could not resolve\n"


@dataclass
class Machine:
    """Programs of a machine: QEMUs that say a version, apt-get, dpkg-deb."""

    folder: Path
    system: str = OLD_QEMU
    release: str = DEBIAN
    kvm: bool = False
    mirror: bool = True
    starts: bool = True
    named: str = ""
    asked: list[Command] = field(default_factory=list)
    reported: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.path = self.folder / "bin" / PROGRAM
        self.path.parent.mkdir()
        self.path.touch()

    @property
    def cache(self) -> Path:
        return self.folder / "lab"

    def choice(self) -> EmulatorChoice:
        host = Host(self.release, "one boot", self.kvm, self.named)
        programs = {PROGRAM: self.path}
        return EmulatorChoice(self.cache, Workshop(self.folder, self, programs, self.reported.append, {}, host))

    def choose(self, *, settled: bool = False) -> Emulator:
        return self.choice().choose(self.folder / "vmlinuz", settled=settled)

    def count(self, word: str) -> int:
        return sum(word in str(command) for command in self.asked)

    def run(self, command: Command) -> Result:
        self.asked.append(command)
        match command.program.name, *command.arguments:
            case [str(), "--version"]:
                return self._say(self._version(command.program))
            case [str(), "-machine", *_]:
                return self._say("Kernel panic - not syncing: VFS: Unable to mount root fs\n")
            case ["apt-get", *_, "update"] if not self.mirror:
                raise CommandError("`apt-get` failed with exit code 100", cause="E: Some failed", stderr=NO_MIRROR)
            case ["apt-get", *words] if "download" in words:
                assert command.folder
                for name in words[words.index("download") + 1 :]:
                    (command.folder / f"{name}_1%3a10.0.2_amd64.deb").touch()
            case ["dpkg-deb", "-x", package, folder]:
                if f"/{PROGRAM.replace('_64', '')}_" in str(package):
                    self._unpack(Path(str(folder)))
            case ["dpkg-deb", "-f", *_]:
                return self._say("1:10.0.2+ds-2+deb13u1~bpo12+1\n")
        return self._say("")

    @staticmethod
    def _say(text: str) -> Result:
        return Result(0, text.encode(), b"", 0.0)

    @staticmethod
    def _unpack(folder: Path) -> None:
        assert folder.is_dir()
        (folder / "usr" / "bin").mkdir(parents=True)
        for name in (PROGRAM, "qemu-system-i386"):
            (folder / "usr" / "bin" / name).touch()

    def _version(self, program: Path) -> str:
        if program == self.path:
            return f"QEMU emulator version {self.system}\nCopyright (c)\n"
        if program.name == "no-qemu":
            return "hello\nworld\n"
        if not program.exists() or (not self.starts and program.name == PROGRAM):
            cause = "error while loading shared libraries: libfuse3.so.3"
            raise CommandError(f"`{program.name} --version` failed", cause=cause)
        return f"QEMU emulator version {NEW_QEMU}\n"


@pytest.mark.parametrize(
    ("system", "release", "kvm", "chosen", "accelerator"),
    [
        (OLD_QEMU, DEBIAN, True, "system", "kvm"),  # accelerated, ciphers are the host's in any case
        ("6.2.0", UBUNTU, True, "system", "kvm"),
        ("8.2.2 (Debian 1:8.2.2+ds-0ubuntu1)", UBUNTU, False, "system", EMULATION),
        ("10.0.2", TRIXIE, False, "system", EMULATION),
        ("10.0.2", DEBIAN, False, "system", EMULATION),
        (OLD_QEMU, DEBIAN, False, "backports", EMULATION),
        (OLD_QEMU, TRIXIE, False, "slow", EMULATION),
        ("6.2.0", UBUNTU, False, "slow", EMULATION),
    ],
)
def test_the_choice(tmp_path: Path, system: str, release: str, chosen: str, accelerator: str, *, kvm: bool) -> None:
    machine = Machine(tmp_path, system, release, kvm)
    emulator = machine.choose()
    if chosen == "backports":
        assert emulator == Emulator(machine.cache / NEW_FOLDER / PROGRAM, NEW_QEMU, accelerator)
        assert machine.reported == ["fetching a newer QEMU from Debian's backports"]
    else:
        assert emulator == Emulator(machine.path, system, accelerator)
        assert len(machine.reported) == (chosen == "slow")
        assert machine.count("apt-get") == 0
    if chosen == "slow":
        assert "FIRSTLIGHT_QEMU may name one of 8.2 or later" in machine.reported[0]


@pytest.mark.parametrize(("kvm", "accelerator"), [(False, EMULATION), (True, "kvm")])
def test_a_named_qemu_overrules_the_choice(tmp_path: Path, accelerator: str, *, kvm: bool) -> None:
    named = tmp_path / "my-qemu"
    named.touch()
    machine = Machine(tmp_path, kvm=kvm, named=str(named))
    assert machine.choose() == Emulator(named, NEW_QEMU, accelerator)
    assert machine.count("apt-get") == 0
    probes = [command.program for command in machine.asked if "-machine" in command.arguments]
    assert probes == ([named] if kvm else [])


@pytest.mark.parametrize(
    ("name", "cause"), [("nowhere", "error while loading"), ("no-qemu", "it says 'hello'")]
)  # fmt: skip
def test_a_name_that_is_no_qemu_is_refused(tmp_path: Path, name: str, cause: str) -> None:
    named = tmp_path / name
    with pytest.raises(InputError, match="FIRSTLIGHT_QEMU names no QEMU") as refused:
        Machine(tmp_path, named=str(named)).choose()
    assert cause in refused.value.cause
    assert refused.value.remedy == "have FIRSTLIGHT_QEMU name a qemu-system-x86_64, or unset it"
    assert not (tmp_path / "lab" / "emulator.json").exists()


def test_kvm_that_does_not_boot_a_kernel_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(tmp_path, "9.0.0", kvm=True)
    monkeypatch.setattr(
        Machine, "_say", staticmethod(lambda text: Result(0, text.replace("panic", "").encode(), b"", 0.0))
    )
    assert machine.choose().accelerator == EMULATION


def test_what_was_downloaded_is_laid_out_so_that_it_finds_its_own_firmware(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.choose()
    folder = machine.cache / NEW_FOLDER
    assert sorted(path.name for path in folder.iterdir()) == [BUNDLE, PROGRAM]
    assert not (folder / BUNDLE / "usr" / "bin").exists()
    assert sorted(path.name for path in machine.cache.iterdir()) == ["emulator.json", NEW_FOLDER]


def test_what_was_downloaded_is_used_again(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    first = machine.choose()
    (machine.cache / "emulator.json").unlink()
    machine.asked.clear()
    machine.mirror = False
    assert machine.choose() == first
    assert machine.count("apt-get") == 0


@pytest.mark.parametrize(
    ("mirror", "starts", "cause"),
    [(False, True, "Could not resolve"), (True, False, "error while loading shared libraries: libfuse3.so.3")],
)
def test_the_systems_runs_the_machines_where_a_newer_one_cannot_be_had(
    tmp_path: Path, cause: str, *, mirror: bool, starts: bool
) -> None:
    machine = Machine(tmp_path, mirror=mirror, starts=starts)
    assert machine.choose() == Emulator(machine.path, OLD_QEMU, EMULATION)
    assert cause in machine.reported[-1]
    assert machine.reported[-1].startswith("QEMU 7.2.22 runs the machines; ")
    assert [path.name for path in machine.cache.iterdir()] == ["emulator.json"]


def test_a_choice_is_remembered(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    first = machine.choose()
    machine.asked.clear()
    assert machine.choose() == first
    assert machine.asked == []


def test_a_mirror_that_was_away_is_asked_again_the_next_day_but_not_while_a_lab_runs(tmp_path: Path) -> None:
    machine = Machine(tmp_path, mirror=False)
    old = machine.choose()
    machine.mirror = True
    assert machine.choose() == old
    memory = machine.cache / "emulator.json"
    memory.write_text(json.dumps({**json.loads(memory.read_text()), "retry": time.time() - 1}))
    assert machine.choose(settled=True) == old
    assert machine.choose().version == NEW_QEMU


def test_a_choice_is_made_anew_when_what_it_depends_on_changed(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.choose()
    named = tmp_path / "my-qemu"
    named.touch()
    changed = replace_host(machine, named=str(named))
    assert changed.choose().program == named
    machine.system = "11.0.0"
    machine.path.write_text("another program")
    assert machine.choose() == Emulator(machine.path, "11.0.0", EMULATION)


def replace_host(machine: Machine, *, named: str) -> Machine:
    machine.path.unlink()
    machine.path.parent.rmdir()
    return replace(machine, named=named, asked=[], reported=[])


def test_a_choice_whose_program_is_gone_is_made_anew(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    chosen = machine.choose()
    chosen.program.unlink()
    machine.asked.clear()
    assert machine.choose() == chosen
    assert machine.count("apt-get") == 3


def test_the_variable_is_a_setting() -> None:
    assert VARIABLE in {setting.variable for setting in REGISTRY}
    assert this_host({VARIABLE: "/opt/qemu"}).named == "/opt/qemu"
    assert not this_host({}).named
