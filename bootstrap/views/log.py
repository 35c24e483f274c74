"""The log file: every event as JSON, tracebacks and the output of failed programs included."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Self

from bootstrap.engine.events import Event, Stamped, StepFailed, UnexpectedError
from bootstrap.views.encode import event_name, fields

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from structlog.typing import FilteringBoundLogger

TROUBLE: Final[tuple[type[Event], ...]] = (StepFailed, UnexpectedError)


class LogFile:
    """A log of one run; a context manager that closes the file.

    Args:
        path: the file, made with mode 0600; missing folders are made.

    Raises:
        OSError: the file cannot be made.
    """

    def __init__(self, path: Path) -> None:
        # Late, because it loads rich: dear for commands that log nothing.
        import structlog

        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        # Line-buffered, so that a killed run leaves whole lines behind.
        self._file = os.fdopen(descriptor, "a", buffering=1, encoding="utf-8")
        self._logger: FilteringBoundLogger = structlog.wrap_logger(
            structlog.WriteLogger(self._file),
            processors=[structlog.processors.add_log_level, structlog.processors.JSONRenderer()],
            wrapper_class=structlog.make_filtering_bound_logger(0),
        )

    def read(self, stamped: Stamped) -> None:
        """Write one event.

        Raises:
            OSError: the disk is full or gone.
        """
        write = self._logger.error if isinstance(stamped.event, TROUBLE) else self._logger.info
        write(
            event_name(stamped),
            run=stamped.run_id,
            sequence=stamped.sequence,
            time=stamped.wall.isoformat(timespec="milliseconds"),
            at=round(stamped.seconds, 3),
            holds=fields(stamped),
        )

    def close(self) -> None:
        """No event comes any more; what found no room was told when it came."""
        with suppress(OSError):
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
