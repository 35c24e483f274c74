"""One picture of a running bootstrap, as lines of styled text for a terminal of a given size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rich.text import Text

from bootstrap.engine.machine import State
from bootstrap.views.summary import duration, usually
from bootstrap.views.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bootstrap.views.board import Board, Running, Stage, Waiting

# Columns: from here on there is room for what is left of a budget, and for longer bars.
WIDE: Final = 90
# Columns of a bar, and of one where there is room.
BAR: Final = 16
WIDE_BAR: Final = 36
# Columns of a phase's name: the longest has 13 letters.
NAME: Final = 14
# A stage this near to its deadline, as a share of it, is about to be ended.
NEAR: Final = 0.9
# A wait this many times as long as usual deserves a look.
LONG: Final = 2.0


@dataclass(frozen=True)
class Glyphs:
    """The characters that a terminal can show: by state, and those of a bar."""

    states: Mapping[State, str]
    full: str
    empty: str
    target: str


UNICODE: Final = Glyphs(
    {
        State.PENDING: "·",
        State.ACTING: "▸",
        State.DONE: "✓",
        State.SKIPPED: "-",
        State.FAILED: "✗",
        State.ABORTED: "!",
    },
    full="━",
    empty="─",
    target="┃",
)
ASCII: Final = Glyphs(
    {
        State.PENDING: ".",
        State.ACTING: ">",
        State.DONE: "+",
        State.SKIPPED: "-",
        State.FAILED: "x",
        State.ABORTED: "!",
    },
    full="=",
    empty="-",
    target="|",
)
STYLES: Final = {State.DONE: "green", State.FAILED: "red", State.ABORTED: "red", State.ACTING: "bold"}


def frame(board: Board, now: float, *, width: int, height: int, unicode: bool, mark: str = "") -> list[Text]:
    """The lines, each at most `width` columns wide, at most `height` of them.

    Args:
        board: where the run stands.
        now: seconds since the start of the run.
        width: columns.
        height: lines; when there is not room for all steps, their number is told.
        unicode: whether the terminal shows more than ASCII.
        mark: `LAB` or `REHEARSAL`; empty for real machines.
    """
    glyphs = UNICODE if unicode else ASCII
    lines = [Text(), _header(board, mark)]
    lines += [_stage(stage, now, width, glyphs) for stage in (*board.stages.values(), board.whole)]
    blocks = [list(_running(each, now, glyphs)) for each in board.running.values()]
    room = max(0, height - len(lines))
    shown = [line for block in blocks for line in block]
    if len(shown) > room:
        shown = [*shown[: max(0, room - 1)], Text(f"  {len(blocks)} steps run; the window is too low for all", "dim")]
    lines += shown
    for line in lines:
        line.truncate(width, overflow="ellipsis" if unicode else "crop")
    return lines[:height]


def _header(board: Board, mark: str) -> Text:
    line = Text()
    if mark:
        line.append(f" {mark} ", "reverse").append(" ")
    return line.append(board.cluster, "bold").append(f"  run {board.run_id}", "dim")


def _stage(stage: Stage, now: float, width: int, glyphs: Glyphs) -> Text:
    style = STYLES.get(stage.state, "")
    line = Text(f"{glyphs.states[stage.state]} ", style).append(f"{stage.name:<{NAME}} ", style)
    line.append_text(_bar(stage, now, WIDE_BAR if width >= WIDE else BAR, glyphs))
    target = duration(stage.target)
    if stage.began is None:
        return line.append(f"  target {target}", "dim")
    elapsed = stage.elapsed(now)
    line.append(f"  {duration(elapsed)} of {target}")
    if width >= WIDE:
        line.append(f", {_left(stage, elapsed)}", _tone(stage, elapsed))
    return line


def _left(stage: Stage, elapsed: float) -> str:
    if elapsed <= stage.target:
        return f"{duration(stage.target - elapsed)} left"
    if stage.seconds is None and elapsed >= NEAR * stage.deadline:
        return f"deadline in {duration(max(0.0, stage.deadline - elapsed))}"
    return f"over by {duration(elapsed - stage.target)}"


def _bar(stage: Stage, now: float, columns: int, glyphs: Glyphs) -> Text:
    """The deadline is the bar's whole length; its target is marked."""
    elapsed = stage.elapsed(now)
    whole = max(stage.deadline, stage.target, 1.0)
    full = min(columns, round(columns * elapsed / whole))
    target = min(columns - 1, round(columns * stage.target / whole))
    bar = Text()
    for column in range(columns):
        if column == target:
            bar.append(glyphs.target, "" if column < full else "dim")
        elif column < full:
            bar.append(glyphs.full, _tone(stage, elapsed) or "green")
        else:
            bar.append(glyphs.empty, "dim")
    return bar


def _tone(stage: Stage, elapsed: float) -> str:
    if stage.state is State.FAILED or elapsed >= NEAR * stage.deadline:
        return "red"
    return "yellow" if elapsed > stage.target else ""


def _running(running: Running, now: float, glyphs: Glyphs) -> Iterator[Text]:
    waits = list(running.waits.values())
    head = Text(f"  {glyphs.states[State.ACTING]} ", "cyan").append(running.path, "bold").append("  ")
    since = duration(max(0.0, now - running.began))
    if running.action or not waits:
        yield head.append(f"{one_line(running.action) or running.state.value}, {since}")
    else:
        yield head.append(f"waiting for {one_line(waits[0].description)}")
        yield _times(waits.pop(0), now)
    for wait in waits:
        yield Text(f"      waiting for {one_line(wait.description)}")
        yield _times(wait, now)


def _times(wait: Waiting, now: float) -> Text:
    passed = max(0.0, now - wait.began)
    line = Text(f"      {duration(passed)} of {duration(wait.limit)}")
    if wait.usual is not None:
        line.append(usually(wait.usual), "yellow" if passed > LONG * wait.usual else "")
    return line.append(f": {one_line(wait.seen)}" if wait.seen else "", "dim")
