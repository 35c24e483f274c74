"""The catalogue of accidents, and what each does to network and machines."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from bootstrap.host.commands import Result
from bootstrap.host.errors import ExitCode, InputError
from rehearsal import faults
from rehearsal.catalogue import FAULTS, as_table, find
from rehearsal.faults import Faults
from tests.unit.rehearsal.bench import MACHINE, Script, make_settings, system

if TYPE_CHECKING:
    from pathlib import Path

OWN = replace(MACHINE, address="10.25.13.11")
PACKETS = frozenset({"unreachable", "half-open", "closed", "registry-down", "time-silent"})


class Deeds:
    """Keeps what is done to it, whatever that is."""

    def __init__(self, **values: object) -> None:
        self.done: list[str] = []
        self.__dict__ |= values

    def __getattr__(self, name: str) -> Any:
        def do(*_: object, **options: object) -> None:
            self.done.append(" ".join([name, *(f"{key}={value}" for key, value in options.items())]))

        return do


class Bench:
    """Faults over a runner that keeps what nft is told, a network, a clock, and two machines."""

    def __init__(self, folder: Path) -> None:
        self.nft = Script(*[Result(0, b'{"nftables": []}', b"", 0.0)] * 30)
        self.network = Deeds()
        self.clock = Deeds(answered_shifted=3)
        self.machines = tuple(Deeds(settings=OWN, number=number) for number in range(2))
        settings = make_settings(folder, folder, {"nft": system("nft")}, machines=(OWN, OWN))
        made: Any = (self.network, self.clock, self.machines)
        self.faults = Faults(settings, self.nft, *made)  # type: ignore[arg-type]  # the one method that is called

    @property
    def told(self) -> list[str]:
        return [str(command.arguments[0]) for command in self.nft.asked]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    made = Bench(tmp_path)
    monkeypatch.setattr(faults, "configure", lambda *_: made.machines[1].configured())
    return made


def test_every_fault_says_what_it_does_and_what_should_be_made_of_it() -> None:
    table = as_table()
    for name, fault in FAULTS.items():
        assert name == fault.name
        assert fault.does in table
        assert fault.wanted in table
        assert fault.counted
        assert fault.ends
        assert ExitCode.DONE not in fault.ends or fault.lasts, f"{name} lasts for ever, and yet the run is to end well"


def test_a_fault_that_does_not_exist_is_refused_with_the_nearest() -> None:
    with pytest.raises(InputError) as refused:
        find("halfopen")
    assert "half-open" in refused.value.cause


@pytest.mark.parametrize(
    ("name", "deed", "mended"),
    [
        ("reset", "reset", ""),
        ("power-off", "switch_off", "switch_on"),
        ("pause", "pause", "resume"),
        ("link-down", "set_link up=False", "set_link up=True"),
        ("foreign-secrets", "configured", ""),
        ("other-disk", "stand_in", "switch_on"),
        ("used-disk", "stand_in", "switch_on"),
        ("other-mac", "stand_in", "switch_on"),
    ],
)
def test_what_happens_to_a_machine_is_counted_and_mended(bench: Bench, name: str, deed: str, mended: str) -> None:
    assert bench.faults.fired(name) == 0
    bench.faults.begin(name, 1, 0.0)
    assert bench.faults.end(name, 1) == 1
    assert bench.machines[1].done == [deed, *([mended] if mended else [])]
    assert bench.machines[0].done == []


def test_a_partner_is_taken_away_and_given_back(bench: Bench) -> None:
    bench.faults.begin("partner-missing", 1, 0.0)
    assert bench.faults.end("partner-missing", 1) == 1
    assert bench.network.done == ["set_partner present=False", "set_partner present=True"]


def test_a_loop_of_reboots_goes_on_until_it_is_mended(bench: Bench) -> None:
    bench.faults.begin("reboot-loop", 0, 0.001)
    while bench.faults.fired("reboot-loop") < 3:
        pass
    felt = bench.faults.end("reboot-loop", 0)
    assert felt >= 3
    assert set(bench.machines[0].done) == {"reset"}


def test_a_clock_is_ahead_by_what_is_given_and_counts_by_itself(bench: Bench) -> None:
    bench.faults.begin("clock", 0, 0.0)
    assert bench.faults.end("clock", 0) == 3
    assert bench.clock.done == ["shift", "shift"]


@pytest.mark.parametrize("name", sorted(PACKETS))
def test_what_happens_to_packets_is_counted_apart(bench: Bench, name: str) -> None:
    bench.faults.begin(name, 0, 0.0)
    table, rule = bench.told
    assert f"firstlight-{name}" in table
    assert "counter" in rule
    assert (" 10.25.13.11, 10.25.13.111 }" in rule) is (name not in {"registry-down", "time-silent"})
    counted = {
        "nftables": [
            {"rule": {"table": f"firstlight-{name}", "expr": [{"counter": {"packets": 7}}]}},
            {"rule": {"table": "another", "expr": [{"counter": {"packets": 100}}]}},
        ]
    }
    bench.nft._answers.insert(0, Result(0, json.dumps(counted).encode(), b"", 0.0))
    assert bench.faults.end(name, 0) == 7
    assert bench.told[-1].endswith(f"delete table inet firstlight-{name}")


def test_the_catalogue_has_no_fault_that_nobody_can_make(bench: Bench) -> None:
    for name in FAULTS:
        bench.faults.begin(name, 1, 60.0)
        bench.faults.fired(name)
        bench.faults._loop.set()


def test_a_machine_that_is_not_there_is_refused(bench: Bench) -> None:
    with pytest.raises(InputError, match="there is no machine 2"):
        bench.faults.begin("pause", 2, 0.0)
