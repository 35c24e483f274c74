"""Faults 54 and 55 of the fault matrix: every file in `flux_faults/` is one, with what must come of it.

`flux` is what objects say (`flux.Fault`), `later` lets them say it after a bootstrap, to a hand-over that is judged
alone; `exit` and `says` are of that run, `silent` what it must never say, `seconds` the most that the phase may take.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bootstrap.host import yaml_io
from bootstrap.host.objects import flag, mapping, number, sequence
from tests.scripted import invariants
from tests.scripted.ring import Ring

if TYPE_CHECKING:
    from tests.scripted.conftest import Make

FOLDER = Path(__file__).with_name("flux_faults")
HANDOVER = {"request": {"only": ("handover",)}}
# Flux takes up to ten to come to the fault, then it is named within thirty.
NAMED_WITHIN = 40


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.yaml")), ids=lambda file: file.stem)
def test_a_fault(file: Path, make: Make) -> None:
    fault = mapping(yaml_io.load(file.read_bytes(), source=file.name))
    scenario = make()
    if flag(fault, "later"):
        assert scenario.run().exit_code == 0
    scenario.tell("flux", mapping(fault, "flux"))
    if flag(fault, "later"):
        with Ring(scenario.world) as ring:
            ring.flux.disturb()
    ran = scenario.run(**(HANDOVER if flag(fault, "later") else {}))
    assert ran.exit_code == number(fault, "exit"), ran.stderr
    missing = [said for said in sequence(fault, "says") if str(said) not in ran.stderr]
    assert not missing, f"not said: {missing}\n{ran.stderr}"
    assert not [said for said in sequence(fault, "silent") if str(said) in ran.stderr]
    # A fault that did not happen proves nothing.
    assert sorted(scenario.told("flux told")) == sorted(mapping(fault, "flux"))
    if ran.exit_code:
        assert ran.kept("seconds.json")["handover"] <= (number(fault, "seconds") or NAMED_WITHIN)
    invariants.bootstrapped_safely(scenario)
    invariants.only_ours(scenario)
    invariants.no_secrets(scenario)
    invariants.journal_is_true(scenario)


def test_each_of_both_faults_has_files() -> None:
    assert {file.name.partition("-")[0] for file in FOLDER.glob("*.yaml")} == {"54", "55"}
