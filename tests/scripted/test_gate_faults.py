"""One layer broken alone: every file in `gate_faults/` says which gate fails, and with which words.

`tell` are faults of the world by name, `told` the value by which it says that they happened, `step` the one step that
fails, `exit` and `says` are of the run. Mended, the next run ends in the world of an undisturbed one.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bootstrap.host import yaml_io
from bootstrap.host.objects import mapping, number, sequence, text
from kube.cluster import POD
from tests.scripted import invariants

if TYPE_CHECKING:
    from tests.scripted.conftest import Make
    from tests.scripted.scenario import Scenario

FOLDER = Path(__file__).with_name("gate_faults")


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.yaml")), ids=lambda file: file.stem)
def test_a_layer_that_is_broken_alone_fails_its_own_gate(file: Path, make: Make, wanted: list[Any]) -> None:
    fault = mapping(yaml_io.load(file.read_bytes(), source=file.name))
    faults = mapping(fault, "tell")
    scenario = make()
    for name, value in faults.items():
        scenario.tell(name, value)
    ran = scenario.run(report=True)
    assert ran.exit_code == number(fault, "exit"), ran.stderr
    missing = [said for said in sequence(fault, "says") if str(said) not in ran.stderr]
    assert not missing, f"not said: {missing}\n{ran.stderr}"
    assert scenario.told(text(fault, "told"))
    assert steps(scenario, "failed") == [text(fault, "step")]
    assert "core/flux-instance" not in steps(scenario, "done")
    assert not [name for name in scenario.names(POD) if name.startswith("firstlight-")]
    for name in faults:
        scenario.tell(name, {})
    mended = scenario.run()
    assert mended.exit_code == 0, mended.stderr
    invariants.check(scenario, wanted, ran, mended)
    invariants.converged(scenario)


def steps(scenario: Scenario, state: str) -> list[str]:
    """The steps that the latest run's report shows in a state."""
    (report,) = (scenario.journal.parent / "runs").glob("*/report.json")
    every = (step for phase in json.loads(report.read_text())["phases"] for step in phase["steps"])
    return [step["path"] for step in every if step["state"] == state]
