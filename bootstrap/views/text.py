"""Texts of others, made fit to be shown."""

from __future__ import annotations

import unicodedata


def one_line(text: str) -> str:
    """A text on one line, without characters that would command a terminal or that no XML may hold.

    What a machine, a program or an API said is shown, so it must not be able to move the cursor, to colour what
    follows, or to begin a line that a CI system takes for a command.
    """
    # Control and format characters, surrogates, private use and unassigned ones.
    return " ".join("".join(" " if unicodedata.category(each)[0] == "C" else each for each in text).split())
