"""A terminal as far as the live view uses one."""

from __future__ import annotations

import io
import re
import threading

CONTROL = re.compile(r"\x1b\[(?P<number>\d*)(?P<letter>[A-Za-z])|\x1b\[[\d;]*m|.|\n", re.DOTALL)


class Terminal(io.StringIO):
    """Keeps what is on the screen and above it, as lines; long ones are broken as a terminal breaks them."""

    def __init__(self, columns: int = 80) -> None:
        super().__init__()
        self.columns = columns
        self.rows = [""]
        self.row = 0
        self.most = 0
        self.holding = threading.Event()
        self.holding.set()
        self.gone = False

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.holding.wait()
        if self.gone:
            raise OSError(5, "Input/output error")
        for found in CONTROL.finditer(text):
            if found["letter"] == "A":
                self.row -= int(found["number"] or 1)
                assert self.row >= 0, "above the first line"
            elif found["letter"] == "J":
                self.rows[self.row :] = [""]
            elif found.group() == "\n":
                self._down()
            elif found.group() != "\r" and not found.group().startswith("\x1b"):
                if len(self.rows[self.row]) == self.columns:
                    self._down()
                self.rows[self.row] += found.group()
        self.most = max(self.most, len(self.rows))
        return len(text)

    def _down(self) -> None:
        self.row += 1
        if self.row == len(self.rows):
            self.rows.append("")

    @property
    def text(self) -> str:
        """What a person can scroll back to."""
        return "\n".join(self.rows)


def broken(text: str, columns: int) -> str:
    """A text as a terminal of so many columns shows it."""
    return "\n".join(
        line[at : at + columns] for line in text.split("\n") for at in range(0, max(1, len(line)), columns)
    )
