"""Cilium's operator, which registers definitions at run time, in a whole bootstrap."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bootstrap.host.errors import ExitCode
from tests.scripted import invariants
from tests.scripted.ring import Ring

if TYPE_CHECKING:
    from tests.scripted.conftest import Make

FAULT = "operator is silent"


def test_an_operator_that_registers_nothing_is_what_the_run_waits_for(make: Make, wanted: list[Any]) -> None:
    scenario = make()
    scenario.tell(FAULT, value=True)
    ran = scenario.run()
    assert ran.exit_code == ExitCode.TIMED_OUT
    assert scenario.told("operator was silent")
    assert "Cilium's operator to register its definitions" in ran.stderr
    assert "ciliumcidrgroups.cilium.io is not registered by the operator" in ran.stderr
    assert not any(effect.what.startswith("flux-instance ") for effect in scenario.effects())
    scenario.tell(FAULT, value=False)
    with Ring(scenario.world) as ring:
        ring.releases.register()
    mended = scenario.run()
    assert mended.exit_code == ExitCode.DONE, mended.stderr
    invariants.check(scenario, wanted, ran, mended)
    invariants.converged(scenario)
