"""The scripted ring says what real Talos and real helm say; see tests/scripted/contract.py."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import pytest

from tests.scripted.contract import Question, Said, contract
from tests.scripted.scenario import Scenario

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.conftest import HandedOver, World

pytestmark = pytest.mark.lab

NODE = "10.25.13.11"
# Between what a command says and its exit code, which `lab.shell` keeps for itself.
MARK = "exit code of the command: "


def test_the_scripted_ring_says_what_the_lab_says(converged: World, tmp_path: Path) -> None:
    scenario = Scenario(tmp_path / "scripted")
    assert scenario.run().exit_code == 0

    def ask(question: Question) -> Said:
        command = shlex.join(word.replace("NODE", NODE) for word in question.words)
        said = converged.shell(f"{command}; echo; echo '{MARK}'$?")
        stdout, _, code = said.stdout.rpartition(MARK)
        assert code.strip().isdigit(), said.stderr
        return Said(int(code), stdout.strip("\n"), said.stderr)

    assert contract(ask, scenario.ask) == []


def test_a_bootstrap_that_a_killed_run_sent_is_not_sent_again(handed_over: HandedOver) -> None:
    """The kernel log of a real node says that it was taken, as the scripted ring's does."""
    steps = {step["path"]: step for phase in handed_over.report["phases"] for step in phase["steps"]}
    assert "bootstrap etcd on lab-01" in handed_over.killed
    assert steps["talos/etcd"]["actions"] == []
