"""Faults 25 to 40 of the fault matrix: every file in `faults/` is one, with what must come of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bootstrap.host import yaml_io
from bootstrap.host.objects import mapping, number, objects, sequence, text
from tests.scripted import invariants
from tests.scripted.accidents import Accident, Moment
from tests.scripted.scenario import TALOS

if TYPE_CHECKING:
    from bootstrap.host.objects import Object
    from tests.scripted.conftest import AfterTalos, Make
    from tests.scripted.scenario import Ran, Scenario

FOLDER = Path(__file__).with_name("faults")
NUMBERS = range(25, 41)
PLANES = 3


def read(file: Path) -> Object:
    """A fault as its file has it."""
    return mapping(yaml_io.load(file.read_bytes(), source=file.name))


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.yaml")), ids=lambda file: file.stem)
def test_a_fault(file: Path, make: Make, after_talos: AfterTalos) -> None:
    fault = read(file)
    workers = number(fault, "workers")
    scenario = make(nodes=PLANES, workers=workers)
    _arrange(scenario, fault)
    before = scenario.changes()
    ran = [_run(scenario, fault)]
    _happened(scenario, fault)
    if "then" in fault:
        after = mapping(fault, "then")
        for name, properties in mapping(after, "machines").items():
            scenario.change(name, **mapping(properties))
        ran.append(_run(scenario, after))
    done = [f"{one.kind} {one.what.split()[0]}" for one in scenario.changes()[len(before) :]]
    assert sorted(done) == sorted(str(one) for one in sequence(fault, "effects"))
    invariants.bootstrapped_safely(scenario)
    invariants.only_ours(scenario)
    invariants.no_secrets(scenario)
    invariants.journal_is_true(scenario)
    if ran[-1].exit_code == 0:
        assert scenario.final_world() == after_talos(PLANES, workers)
        invariants.converged(scenario, **TALOS)


def test_every_fault_of_the_talos_phase_has_a_file() -> None:
    told = {int(file.stem.partition("-")[0]) for file in FOLDER.glob("*.yaml")}
    # The operator's own files are no state of a machine; test_talos_faults.py has them.
    assert told | {40} == set(NUMBERS)


def _arrange(scenario: Scenario, fault: Object) -> None:
    start = mapping(fault, "start")
    scenario.configure(
        *(str(name) for name in sequence(start, "configured")),
        etcd=[str(name) for name in sequence(start, "etcd")],
        foreign=[str(name) for name in sequence(start, "foreign")],
    )
    for name, properties in mapping(fault, "machines").items():
        scenario.change(name, **mapping(properties))
    if "delays" in fault:
        scenario.tell("delays", mapping(fault, "delays"))
    scenario.plan(*(_accident(one) for one in objects(fault, "accidents")))


def _accident(one: Object) -> Accident:
    return Accident(**{**one, "moment": Moment(text(one, "moment") or "before")})  # type: ignore[arg-type] # from YAML


def _run(scenario: Scenario, fault: Object) -> Ran:
    ran = scenario.run(**TALOS, skew=float(number(fault, "skew")))
    assert ran.exit_code == number(fault, "exit"), ran.stderr
    missing = [said for said in sequence(fault, "says") if str(said) not in ran.stderr]
    assert not missing, f"not said: {missing}\n{ran.stderr}"
    return ran


def _happened(scenario: Scenario, fault: Object) -> None:
    """A fault that did not happen proves nothing."""
    for accident, fired in zip(objects(fault, "accidents"), scenario.fired(), strict=True):
        assert fired == (number(accident, "times") or 1), accident
    for question in sequence(fault, "asked"):
        assert scenario.asked(str(question)), question
    assert "accidents" in fault or "asked" in fault
