"""What is drawn on a terminal while a run goes on, and what stays of it."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

import pytest

from bootstrap.engine import Gate, Phase
from bootstrap.engine.events import (
    ActionStarted,
    Bus,
    Note,
    PhaseEnded,
    PhaseOutline,
    PhaseStarted,
    RunStarted,
    Stamped,
    StepMoved,
    WaitEnded,
    WaitObserved,
    WaitStarted,
    utc_now,
)
from bootstrap.engine.machine import State
from bootstrap.engine.step import KillSafety
from bootstrap.engine.testing import FakeClock, Recording, run_phases
from bootstrap.views import live
from bootstrap.views.board import Board
from bootstrap.views.frame import frame
from bootstrap.views.live import LiveView, wants_live
from bootstrap.views.plain import PlainLines, line_of
from tests.unit.engine.world import World, holds_at_look, phase, reading
from tests.unit.views.terminal import Terminal, broken

if TYPE_CHECKING:
    from collections.abc import Sequence

    from syrupy.assertion import SnapshotAssertion

    from bootstrap.engine.events import Event, Reader

SEEN = "apps-01: [red]installed[/red]; apps-02: installing\n\x1b[2J or rebooting (no answer); apps-03: maintenance mode"
PHASES = (
    PhaseOutline("preflight", "Check", None, 60.0, 300.0, ()),
    PhaseOutline("talos", "Install", -1, 60.0, 120.0, ()),
    PhaseOutline("core", "Releases", 2, 100.0, 200.0, ()),
)
# Half-way through a run: a phase done, one far over its target with two waits, one to come.
STORY: tuple[tuple[float, Event], ...] = (
    (0.0, RunStarted("apps", PHASES, 300.0, 900.0)),
    (0.0, PhaseStarted("preflight", "Check", None, 60.0, 300.0)),
    (0.0, StepMoved("preflight/programs", State.PENDING, State.PROBING, "", 0.0)),
    (1.5, StepMoved("preflight/programs", State.PROBING, State.DONE, "found", 1.5)),
    (8.0, PhaseEnded("preflight", State.DONE, 8.0, 60.0)),
    (8.0, PhaseStarted("talos", "Install", -1, 60.0, 120.0)),
    (8.0, StepMoved("talos/install", State.PENDING, State.PROBING, "", 0.0)),
    (9.0, StepMoved("talos/install", State.PROBING, State.WAITING, "", 1.0)),
    (9.0, WaitStarted("talos/install", "every machine to come back installed", 300.0, "the gate", 35.0)),
    (90.0, WaitObserved("talos/install", "every machine to come back installed", SEEN, 81.0, 300.0, heartbeat=False)),
    (90.0, StepMoved("talos/etcd", State.PENDING, State.PROBING, "", 0.0)),
    (91.0, StepMoved("talos/etcd", State.PROBING, State.ACTING, "", 1.0)),
    (91.0, ActionStarted("talos/etcd", 2, 5, "bootstrap etcd", "none", KillSafety.ONCE, "etcd is up", writes=True)),
    (91.0, WaitStarted("talos/etcd", "apps-01 to take the bootstrap", 180.0, "the gate", None)),
    (92.0, StepMoved("talos/nodes", State.PENDING, State.PROBING, "", 0.0)),
)


def stamped(seconds: float, event: Event) -> Stamped:
    return Stamped("20260314T021109Z-6b1f", 1, 1000.0 + seconds, seconds, utc_now(), event)


def board(*more: tuple[float, Event]) -> Board:
    found = Board()
    for seconds, event in (*STORY, *more):
        found.read(stamped(seconds, event))
    return found


@pytest.mark.parametrize("unicode", [True, False], ids=["unicode", "ascii"])
@pytest.mark.parametrize("width", [60, 100, 200])
def test_a_picture(width: int, *, unicode: bool, snapshot: SnapshotAssertion) -> None:
    lines = frame(board(), 95.0, width=width, height=30, unicode=unicode, mark="REHEARSAL")
    assert all(line.cell_len <= width for line in lines)
    assert unicode or all(line.plain.isascii() for line in lines)
    assert not re.search(r"[\x00-\x1f]", "".join(line.plain for line in lines))
    assert "\n".join(line.plain for line in lines) == snapshot


@pytest.mark.parametrize(
    ("now", "said", "style"),
    [
        (40.0, "32.0 s of 1 min 0 s, 28.0 s left", ""),
        (80.0, "1 min 12 s of 1 min 0 s, over by 12.0 s", "yellow"),
        (120.0, "1 min 52 s of 1 min 0 s, deadline in 8.0 s", "red"),
        (300.0, "deadline in 0.0 s", "red"),
    ],
)
def test_a_budget_says_what_is_left_of_it(now: float, said: str, style: str) -> None:
    line = next(line for line in frame(board(), now, width=120, height=30, unicode=True) if " talos " in line.plain)
    assert said in line.plain
    assert {str(span.style) for span in line.spans} & {"yellow", "red"} == ({style} if style else set())


def test_a_wait_that_takes_far_longer_than_usual_stands_out() -> None:
    def styles(now: float) -> set[str]:
        lines = frame(board(), now, width=120, height=30, unicode=True)
        return {str(span.style) for line in lines for span in line.spans if "usually" in line.plain}

    assert "yellow" not in styles(60.0)
    assert "yellow" in styles(95.0)


@pytest.mark.parametrize("height", range(1, 20))
def test_a_low_window_is_never_left(height: int) -> None:
    lines = frame(board(), 95.0, width=80, height=height, unicode=True)
    assert len(lines) <= height
    if 7 <= height < 12:
        assert lines[-1].plain == "  3 steps run; the window is too low for all"


def test_what_is_over_leaves_the_picture() -> None:
    after = board(
        (96.0, WaitEnded("talos/install", "every machine to come back installed", "all", 87.0, held=True)),
        (96.0, StepMoved("talos/install", State.WAITING, State.DONE, "all", 88.0)),
        (97.0, WaitEnded("talos/etcd", "apps-01 to take the bootstrap", "taken", 6.0, held=True)),
        (98.0, PhaseEnded("talos", State.FAILED, 90.0, 60.0)),
    )
    text = "\n".join(line.plain for line in frame(after, 99.0, width=120, height=30, unicode=True))
    assert "install " not in text
    assert "talos/etcd  [2/5] bootstrap etcd, 8.0 s" in text
    assert "to take" not in text
    assert "✗ talos" in text


@pytest.mark.parametrize(
    ("environment", "output", "redirected", "wanted"),
    [
        ({"TERM": "xterm-256color"}, "text", False, True),
        ({"TERM": "xterm", "CI": "true"}, "text", False, False),
        ({"TERM": "xterm", "CI": "false"}, "text", False, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, "text", False, True),
        ({"TERM": "dumb"}, "text", False, False),
        ({}, "text", False, False),
        ({"TERM": "xterm"}, "json", False, False),
        ({"TERM": "xterm"}, "json", True, True),
    ],
)
def test_where_it_draws(environment: dict[str, str], output: str, *, redirected: bool, wanted: bool) -> None:
    stdout = io.StringIO() if redirected else Terminal()
    assert wants_live(Terminal(), stdout, environment, output=output) is wanted
    assert not wants_live(io.StringIO(), stdout, environment, output=output)


@pytest.fixture
def columns(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """A terminal of so many columns, in which pictures follow each other quickly."""
    wide: int = getattr(request, "param", 100)
    monkeypatch.setenv("COLUMNS", str(wide))
    monkeypatch.setenv("LINES", "30")
    monkeypatch.setattr(live, "FRAME_SECONDS", 0.001)
    return wide


def one_run(*readers: Reader, clock: FakeClock, gate: Gate[str]) -> None:
    phases = [
        phase("preflight", reading("programs"), reading("files")),
        Phase(
            name="talos",
            title="Talos",
            steps=(World().acting("etcd", effects=("a", "b"), gate=gate),),
            target=5.0,
            deadline=600.0,
        ),
        phase("core", reading("cilium", lambda _: 1 / 0)),  # type: ignore[arg-type, return-value]  # it raises
    ]
    run_phases(phases, readers=readers, clock=clock, workers=1)


@pytest.mark.parametrize("columns", [60, 100, 200], indirect=True)
def test_nothing_is_lost_and_nothing_of_the_pictures_stays(columns: int, gate: Gate[str]) -> None:
    terminal, clock, plain, recording = Terminal(columns), FakeClock(), io.StringIO(), Recording()
    with LiveView(terminal, clock, log="the log") as view:
        one_run(view, PlainLines(plain, log="the log"), recording, clock=clock, gate=gate)
    told = [line_of(each) for each in recording.stamped if not isinstance(each.event, live.DRAWN)]
    summary = plain.getvalue()[plain.getvalue().index("\nphase ") :]
    assert terminal.text == broken("".join(f"{line}\n" for line in told if line) + summary, columns)


def test_pictures_are_drawn_while_it_runs(columns: int, gate: Gate[str]) -> None:
    terminal, clock = Terminal(columns), FakeClock()
    with LiveView(terminal, clock, mark="LAB") as view:
        view.read(stamped(0.0, STORY[0][1]))
        while " LAB  apps  run 20260314T021109Z-6b1f" not in terminal.text:
            assert view._thread.is_alive()
        one_run(view, clock=clock, gate=gate)
    assert " LAB " not in terminal.text


def test_a_terminal_that_holds_output_back_does_not_hold_the_run_back(
    columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "LAST_SECONDS", 0.01)
    terminal = Terminal(columns)
    terminal.holding.clear()
    with LiveView(terminal, FakeClock()) as view:
        for seconds, event in STORY:
            view.read(stamped(seconds, event))
    assert terminal.text == ""
    terminal.holding.set()
    view._thread.join()
    assert "preflight/programs         done: found" in terminal.text


def test_plain_lines_take_the_place_of_a_view_that_broke(columns: int, gate: Gate[str]) -> None:
    terminal, clock = Terminal(columns), FakeClock()

    def fail(*_: object, **__: object) -> Sequence[object]:
        raise ValueError("a bug")

    view = LiveView(terminal, clock)
    view._frame = fail  # type: ignore[assignment]
    with view:
        view.read(stamped(0.0, STORY[0][1]))
        view._thread.join()
        one_run(view, clock=clock, gate=gate)
    assert "run                        LiveView failed: ValueError: a bug" in terminal.text
    assert "talos/etcd                 still waiting for etcd" in terminal.text
    assert "lab: failed, exit code 1" in terminal.text


def test_a_terminal_that_is_gone_breaks_nothing(columns: int) -> None:
    terminal, clock, recording = Terminal(columns), FakeClock(), Recording()
    terminal.gone = True
    with LiveView(terminal, clock) as view:
        bus = Bus("test", clock=clock, redact=str, readers=[view, recording])
        bus.emit(STORY[0][1])
        view._thread.join()
        bus.emit(Note("one"))
        bus.emit(Note("two"))
    notes = [event.text for event in recording.events if isinstance(event, Note)]
    assert notes == ["one", "LiveView failed: OSError: [Errno 5] Input/output error", "two"]


@pytest.fixture
def gate() -> Gate[str]:
    return Gate(description="etcd", check=holds_at_look(40), timeout=600.0)
