"""The live view: what a run does, drawn again and again at the foot of a terminal."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, Final, Self, TextIO

from bootstrap.engine.events import (
    ActionRunning,
    Event,
    PhaseEnded,
    PhaseStarted,
    RunEnded,
    Stamped,
    StepMoved,
    WaitObserved,
    WaitStarted,
)
from bootstrap.engine.machine import State
from bootstrap.views.board import Board
from bootstrap.views.plain import PlainLines, line_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from types import TracebackType

    from rich.text import Text

    from bootstrap.host.clock import Clock

# Seconds between two pictures: a person sees a second's figure move, and drawing costs about a hundredth of a core.
FRAME_SECONDS: Final = 0.25
# Seconds that a terminal gets to take the last picture; one that is held (Ctrl-S) must not keep the run from ending.
LAST_SECONDS: Final = 2.0
# The picture itself tells these.
DRAWN: Final[tuple[type[Event], ...]] = (ActionRunning, WaitObserved, WaitStarted)


def wants_live(stderr: TextIO, stdout: TextIO, environment: Mapping[str, str], *, output: str) -> bool:
    """Whether standard error is a terminal whose lines may be drawn again.

    It is not where a CI system keeps them, where the terminal cannot move its cursor, and where the data of
    `--output json` go to the same terminal.
    """
    if not stderr.isatty() or environment.get("TERM", "dumb") in {"", "dumb", "unknown"}:
        return False
    if environment.get("CI", "").lower() not in {"", "0", "false"}:
        return False
    return output == "text" or not stdout.isatty()


class LiveView:
    """Draws the run; what is over goes up as plain lines, so that nothing is lost. A context manager.

    A thread of its own draws, so that a slow terminal never holds the run up. When it cannot go on, plain lines
    take its place. The run ends as it does there: with the summary.

    Args:
        stream: standard error, a terminal.
        clock: the run's.
        log: the log's path, shown when a run fails.
        mark: `LAB` or `REHEARSAL`; empty for real machines.
    """

    def __init__(self, stream: TextIO, clock: Clock, *, log: str = "", mark: str = "") -> None:
        # Late, because rich is dear for commands that draw nothing.
        from rich.console import Console
        from rich.text import Text

        from bootstrap.views.frame import frame

        self._text = Text
        self._frame = frame
        self._stream = stream
        self._clock = clock
        self._mark = mark
        self._plain = PlainLines(stream, log=log, mark=mark)
        self._console = Console(file=stream, force_terminal=True, markup=False, highlight=False, emoji=False)
        self._board = Board()
        self._arrived: queue.SimpleQueue[Stamped] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._error: Exception | None = None
        self._told = False
        # The clock's seconds when the run began, and how wide each line of the picture on the screen is.
        self._began = 0.0
        self._drawn: list[int] = []
        self._thread = threading.Thread(target=self._work, name="live view", daemon=True)

    def read(self, stamped: Stamped) -> None:
        """Take one event; only the end of the run is written from here.

        Raises:
            Exception: what ended the drawing, once; then plain lines are written, which may raise OSError.
        """
        ended = isinstance(stamped.event, RunEnded)
        if ended:
            self.close()
        self._arrived.put(stamped)
        if self._error is None and not ended:
            return
        if self._error is not None and not self._told and not ended:
            self._told = True
            raise self._error
        for each in self._take():
            self._plain.read(each)

    def close(self) -> None:
        """Show what has arrived and take the picture away."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(LAST_SECONDS)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _work(self) -> None:
        try:
            while not self._closing.wait(FRAME_SECONDS):
                self._draw(self._news(), self._picture())
            self._draw(self._news(), [])
        except Exception as error:  # noqa: BLE001 # a view that cannot draw gives way to plain lines
            self._error = error

    def _take(self) -> Iterator[Stamped]:
        while not self._arrived.empty():
            yield self._arrived.get()

    def _news(self) -> list[Text]:
        """Lines of what has happened since the last picture; the board follows."""
        lines: list[Text] = []
        for stamped in self._take():
            self._began = stamped.monotonic - stamped.seconds
            self._board.read(stamped)
            if not isinstance(stamped.event, DRAWN) and (line := line_of(stamped)):
                lines.append(self._text(line, _style(stamped.event)))
        return lines

    def _picture(self) -> list[Text]:
        if not self._board.run_id:
            return []
        size = self._console.size
        return self._frame(
            self._board,
            self._clock.monotonic() - self._began,
            # One column and one line are left free: a terminal wraps or scrolls when its last one is written.
            width=size.width - 1,
            height=size.height - 1,
            unicode=self._console.encoding.startswith("utf"),
            mark=self._mark,
        )

    def _draw(self, news: Sequence[Text], picture: Sequence[Text]) -> None:
        """In one go: the last picture away, the news in its place, the picture below."""
        if not (news or picture or self._drawn):
            return
        columns = self._console.width
        # A window that became narrower has broken the lines that were too long for it.
        rows = sum(max(1, -(-cells // columns)) for cells in self._drawn)
        with self._console.capture() as captured:
            for line in (*news, *picture):
                self._console.print(line, soft_wrap=True)
        self._stream.write((f"\x1b[{rows}A\r\x1b[J" if rows else "") + captured.get())
        self._stream.flush()
        self._drawn = [line.cell_len for line in picture]


def _style(event: Event) -> str:
    if isinstance(event, StepMoved) and event.after is State.FAILED:
        return "red"
    return "bold" if isinstance(event, PhaseStarted | PhaseEnded) else ""
