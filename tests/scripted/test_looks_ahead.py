"""A resumed run asks at once what an earlier run finished: how many questions stand one after the other."""

from __future__ import annotations

import re
import time
from collections import Counter
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from phases import session
from tests.scripted.trap import Point, Trap

if TYPE_CHECKING:
    from tests.scripted.conftest import Make
    from tests.scripted.scenario import Ran, Scenario

# Up to the step before which the run is killed; what else its phase does is another matter.
ONLY = ("preflight", "talos", "prerequisites", "definitions")
DEFINITIONS = "crds/definitions"
AHEAD = " ahead"
# What each finished step asks machines or API server, one question after the other.
FINISHED = {
    "talos/install": 3, "talos/network": 3, "talos/etcd": 2, "talos/api": 2, "talos/nodes": 1,
    "prerequisites/resources": 2,
}  # fmt: skip
# Those that are asked before any answer came.
FIRST = dict.fromkeys(("talos/install", "talos/network", "talos/etcd", "talos/api"), 1)
# To the API, and to what `bootstrap/resources.yaml` says; the machines are asked meanwhile.
LONGEST_CHAIN = 4
THREAD = re.compile(r"_\d+$")
# Real seconds; looks take some hundredths.
PATIENCE = 20.0


def questions(said: Path) -> Counter[str]:
    """How many questions each step put, ahead of its turn or at it."""
    file = said / "questions"
    # A step may ask from threads of its own, which are called as its own one and by their number.
    return Counter(THREAD.sub("", line) for line in file.read_text().splitlines()) if file.exists() else Counter()


def killed_before_the_definitions(make: Make) -> Scenario:
    scenario = make()
    killed = scenario.run(request={"only": ONLY}, trap=Trap(Point.BEFORE_LINE, 7))
    assert (killed.said / "trapped").read_text() == f"{DEFINITIONS} 1"
    return scenario


def await_questions(said: Path, wanted: Counter[str]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not wanted <= questions(said):
        assert time.monotonic() < deadline, f"only this was asked: {questions(said)}"
        time.sleep(0.005)


def resumed(scenario: Scenario) -> Ran:
    """The next run; nobody answers before all of the first ask, and helmfile, which takes seconds, before all do."""
    hold, answers = scenario.place / "hold", scenario.place / "answers"
    process, said = scenario.start(request={"only": ONLY}, questions=True, hold=hold, answers=answers)
    try:
        for file, wanted in ((answers, FIRST), (hold, FINISHED)):
            await_questions(said, Counter({f"{path}{AHEAD}": count for path, count in wanted.items()}))
            file.touch()
    finally:
        # A process that hangs would outlive the test.
        answers.touch()
        hold.touch()
    return scenario.end(process, said)


def before(scenario: Scenario, asked: Counter[str], path: str) -> int:
    """How many questions must be answered one after the other before a step's turn."""
    graph = session.outline(session.Request(scenario.root, Path(), scenario.inventory, ""))

    @cache
    def known(path: str) -> int:
        """Until the step's value is there, for others to look with."""
        node = graph.nodes[path]
        if f"{path}{AHEAD}" not in asked:
            return asked[path] + turn(path)
        read = node.step.needs if node.step.reads is None else node.step.reads
        return asked[f"{path}{AHEAD}"] + max((known(graph.path(name)) for name in read), default=0)

    @cache
    def turn(path: str) -> int:
        """Until the step's turn has come."""
        node = graph.nodes[path]
        return max((max(known(one), asked[one] + turn(one)) for one in node.needs | node.after), default=0)

    return turn(path)


def test_what_is_done_is_asked_for_at_once(make: Make) -> None:
    scenario = killed_before_the_definitions(make)
    ran = resumed(scenario)
    assert ran.exit_code == 0, ran.stderr
    asked = questions(ran.said)
    assert {path: asked[path] for path in FINISHED} == dict.fromkeys(FINISHED, 0)
    assert {path: asked[f"{path}{AHEAD}"] for path in FINISHED} == FINISHED
    assert before(scenario, asked, DEFINITIONS) == LONGEST_CHAIN


def test_what_was_never_finished_is_asked_for_at_its_turn_alone(make: Make) -> None:
    scenario = make()
    ran = scenario.run(request={"only": ONLY}, questions=True)
    assert ran.exit_code == 0, ran.stderr
    asked = questions(ran.said)
    assert asked["talos/install"] > 0
    assert [who for who in asked if who.endswith(AHEAD)] == []
