"""A plan as a person, a program and a CI job read it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from bootstrap.engine import Changes, KillSafety
from bootstrap.engine.plan import Outlook, Plan, PlannedAction, PlannedGate, PlannedPhase, PlannedStep
from bootstrap.engine.verdict import Failure
from bootstrap.host.errors import ExitCode, Problem
from bootstrap.views.plan import as_json, as_markdown, as_text


def action(index: int, changes: Changes, *, preview: str = "") -> PlannedAction:
    return PlannedAction(
        index, f"do {index}", "it is missing", "it is there", KillSafety.ATOMIC, changes, preview
    )  # fmt: skip


SECRETS = PlannedStep("a/secrets", "Resolve every secret", Outlook.DONE, "<secret: op://lab/x/y>; one more")
INSTALL = PlannedStep(
    "a/install", "Install", Outlook.TO_DO, "in maintenance mode: lab-01", "machines",
    (action(1, Changes.MACHINES), action(2, Changes.FILES)), PlannedGate("it to come back", 90.0),
)  # fmt: skip
NODES = PlannedStep("b/nodes", "Find nodes", Outlook.TO_DO, "0 of 1", gate=PlannedGate("one node", 5.0))
MANIFESTS = PlannedStep("b/manifests", "Check", Outlook.DONE, known_after="install")
PLAN = Plan(
    "lab", live=False, target=600.0, deadline=1200.0,
    phases=(
        PlannedPhase("a", "First things", None, 60.0, 120.0, (SECRETS, INSTALL)),
        PlannedPhase("b", "Then others", 2, 30.0, 61.0, (NODES, MANIFESTS)),
    ),
)  # fmt: skip
REFUSED = replace(
    PLAN,
    phases=(
        PlannedPhase(
            "a", "First things", None, 60.0, 120.0,
            (
                PlannedStep(
                    "a/files", "Read files", Outlook.REFUSED, "two files",
                    failure=Failure("two files are wrong", "bad", problems=(Problem("no *key*", "a.yaml", 3, 5),)),
                ),
                PlannedStep("a/child", "Follow", Outlook.UNKNOWN, "needs a/files"),
            ),
        ),
    ),
)  # fmt: skip


def test_as_text() -> None:
    assert (
        as_text(PLAN)
        == """\
lab: what a run would do, from the files alone: 2 actions, 1 to machines, 0 to the cluster
target 10 min 0 s, deadline 20 min 0 s

a: First things; target 1 min 0 s, deadline 2 min 0 s
  2 actions, 1 to machines, 0 to the cluster
  secrets          done: Resolve every secret
      <secret: op://lab/x/y>
      one more
  install          to do, known after machines: Install
      1. do 1
         writes to a machine (atomic), because it is missing
      2. do 2
         files of our own (atomic), because it is missing
      then waits for it to come back, at most 1 min 30 s

b (phase 2): Then others; target 30.0 s, deadline 1 min 1 s
  0 actions, 0 to machines, 0 to the cluster
  nodes            to do: Find nodes
      0 of 1
      waits for one node, at most 5.0 s
  manifests        must be found done, known after install: Check
"""
    )


def test_as_json() -> None:
    found = json.loads(as_json(PLAN))
    assert (found["schema"], found["exit_code"], found["cluster"], found["live"]) == (1, 0, "lab", False)
    assert found["actions"] == {"all": 2, "nothing": 0, "files": 1, "machines": 1, "cluster": 0}
    install = found["phases"][0]["steps"][1]
    assert install["actions"][0] == {
        "index": 1, "description": "do 1", "reason": "it is missing", "recognised_by": "it is there",
        "kill_safety": "atomic", "changes": "machines", "preview": "",
    }  # fmt: skip
    assert (install["outlook"], install["known_after"]) == ("to do", "machines")
    assert install["gate"] == {"description": "it to come back", "seconds": 90.0}


def test_as_markdown() -> None:
    found = as_markdown(PLAN)
    assert found.startswith("## lab: what a run would do, from the files alone: 2 actions")
    assert "| b (phase 2): Then others | 0 | 0 | 0 | 30.0 s |" in found
    assert "- **install**, to do, known after machines: Install\n  - 1. do 1\n" in found
    assert r"\<secret: op://lab/x/y\>" in found
    assert "<" not in found.replace(r"\<", "")


def test_what_is_refused_is_told_first_with_file_and_line() -> None:
    assert as_text(REFUSED).startswith("lab: what a run would do, from the files alone: refused for 1 reason\n")
    assert "- **two files are wrong**: bad\n  - a.yaml:3:5: no \\*key\\*\n" in as_markdown(REFUSED)
    found = json.loads(as_json(REFUSED))
    assert found["exit_code"] == 3
    assert found["phases"][0]["steps"][0]["failure"]["problems"][0]["line"] == 3


@pytest.mark.parametrize(
    ("changes", "code"), [(Changes.CLUSTER, ExitCode.CHANGES), (Changes.MACHINES, ExitCode.CHANGES),
                          (Changes.FILES, ExitCode.DONE), (Changes.NOTHING, ExitCode.DONE)],
)  # fmt: skip
def test_only_a_look_at_the_world_finds_changes(changes: Changes, code: ExitCode) -> None:
    step = replace(NODES, actions=(action(1, changes),))
    phase = PlannedPhase("a", "", None, 1.0, 2.0, (step,))
    assert replace(PLAN, live=True, phases=(phase,)).exit_code is code
    assert replace(PLAN, phases=(phase,)).exit_code is ExitCode.DONE
    assert "in the world as it is" in as_text(replace(PLAN, live=True))


def test_what_others_said_commands_no_terminal() -> None:
    preview = "--- a\n+++ b\n-   \x1b[31mold\n+   new\r\n    ::error::gone"
    step = replace(NODES, text="", actions=(action(1, Changes.CLUSTER, preview=preview),))
    shown = as_text(replace(PLAN, phases=(PlannedPhase("a", "", None, 1.0, 2.0, (step,)),)))
    assert "\x1b" not in shown
    assert "\n         +++ b\n" in shown
    assert "\n             ::error::gone\n" in shown
