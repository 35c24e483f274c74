"""Every event as one line of JSON, for programs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TextIO

from bootstrap.engine.events import Stamped, StepFailed, UnexpectedError
from bootstrap.views.encode import encode, event_name, fields
from bootstrap.views.report import About, Chronicle

if TYPE_CHECKING:
    from collections.abc import Callable


class JsonLines:
    """Writes one line an event; the last one holds the whole report.

    Args:
        stream: standard output, for `--output json`.
        about: see `Chronicle`.
    """

    def __init__(self, stream: TextIO, about: Callable[[], About] = About) -> None:
        self._stream = stream
        self._chronicle = Chronicle(about)

    def read(self, stamped: Stamped) -> None:
        """Write one event; what only the log may hold is left out.

        Raises:
            OSError: nobody reads any more.
        """
        holds = fields(stamped)
        if report := self._chronicle.read(stamped):
            holds = {"report": encode(report)}
        if isinstance(stamped.event, UnexpectedError):
            del holds["traceback"]
        if isinstance(stamped.event, StepFailed):
            del holds["details"]
        line = {
            "run": stamped.run_id,
            "sequence": stamped.sequence,
            "time": stamped.wall.isoformat(timespec="milliseconds"),
            "at": round(stamped.seconds, 3),
            "event": event_name(stamped),
            **holds,
        }
        self._stream.write(json.dumps(line, ensure_ascii=False) + "\n")
        self._stream.flush()
