"""The contract against itself: this ring keeps it, a breach is seen. tests/lab/test_lab.py has the other half."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.scripted.contract import QUESTIONS, Question, Said, contract

if TYPE_CHECKING:
    from tests.scripted.conftest import Make


def test_this_ring_keeps_the_contract(make: Make) -> None:
    scenario = make()
    assert scenario.run().exit_code == 0
    assert contract(scenario.ask, scenario.ask) == []
    said = {question.name: scenario.ask(question) for question in QUESTIONS}
    assert [said[name].exit_code for name in ("members of etcd", "a second bootstrap")] == [0, 1]
    assert "AlreadyExists" in said["a second bootstrap"].stderr


def test_a_breach_is_seen(make: Make) -> None:
    scenario = make()
    assert scenario.run().exit_code == 0

    def other(question: Question) -> Said:
        said = scenario.ask(question)
        return said._replace(stdout=said.stdout.replace("Running", "Failed").replace("cilium-1", "cilium-2"))

    assert [line.partition(":")[0] for line in contract(other, scenario.ask)] == [
        "services of a control plane", "releases",
    ]  # fmt: skip
