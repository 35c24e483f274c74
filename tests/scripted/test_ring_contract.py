"""The contract against itself: this ring keeps it, a breach is seen. tests/lab/test_lab.py has the other half."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.scripted.contract import IN_MAINTENANCE, QUESTIONS, Question, Said, contract

if TYPE_CHECKING:
    from tests.scripted.conftest import Make


def test_this_ring_keeps_the_contract(make: Make) -> None:
    scenario = make()
    assert scenario.run().exit_code == 0
    assert contract(scenario.ask, scenario.ask) == []
    said = {question.name: scenario.ask(question) for question in QUESTIONS}
    assert [said[name].exit_code for name in ("members of etcd", "a second bootstrap")] == [0, 1]
    assert "AlreadyExists" in said["a second bootstrap"].stderr


def test_this_ring_keeps_the_contract_of_a_machine_in_maintenance_mode(make: Make) -> None:
    scenario = make()
    assert contract(scenario.ask, scenario.ask, IN_MAINTENANCE) == []
    said = {question.name: question.essence(scenario.ask(question)) for question in IN_MAINTENANCE}
    assert said["ports"] == [("virtio_net", True, 1500)] * 2
    assert said["partitions of an empty disk"] == []
    assert said["a configuration that is not there"][0] == "not_authorized"


def test_this_ring_answers_what_the_phase_talos_asks_of_a_configured_machine(make: Make) -> None:
    scenario = make()
    scenario.configure("lab-01", etcd=["lab-01"])
    asked = [question for question in QUESTIONS if question.words[0] == "talosctl"]
    said = {question.name: question.essence(scenario.ask(question)) for question in asked}
    assert said["etcd's data directory"] == [".", "member"]
    assert said["the default route"] == [("10.25.13.1", "bond0")]
    assert said["the machine configuration"] == ("controlplane", "lab-01")
    assert said["a bond that is not there"] == "not_found"
    assert said["the id of the boot"] is True
    assert {label for label, _ in said["partitions"]} == {"EFI", "BIOS", "BOOT", "META", "STATE", "EPHEMERAL"}


def test_a_breach_is_seen(make: Make) -> None:
    scenario = make()
    assert scenario.run().exit_code == 0

    def other(question: Question) -> Said:
        said = scenario.ask(question)
        return said._replace(stdout=said.stdout.replace("Running", "Failed").replace("cilium-1", "cilium-2"))

    assert [line.partition(":")[0] for line in contract(other, scenario.ask)] == [
        "services of a control plane", "releases",
    ]  # fmt: skip
