"""A secret that cannot be printed by accident, and the redactor that catches the rest."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
import shlex
from typing import TYPE_CHECKING, Final, final
from urllib.parse import quote, quote_plus

if TYPE_CHECKING:
    from collections.abc import Iterator

MASK: Final = "[redacted]"
# Shorter values would mask ordinary words; no generated secret is this short.
SHORTEST_MASKED: Final = 6
# Characters in a row of a secret that are masked wherever they stand: what a log that cuts its lines may show of it.
WINDOW: Final = 12
# The first and last line of a PEM text, which certificates have as well as keys.
_ARMOUR: Final = re.compile(r"-----(?:BEGIN|END) [A-Z0-9 ]+-----")


@final
class Secret:
    """A value that prints as its reference.

    Args:
        value: the secret itself.
        reference: where it came from, for example `op://vault/item/field`; shown in its place.
    """

    __slots__ = ("_value", "reference")

    def __init__(self, value: bytes | str, reference: str) -> None:
        self._value = value.encode() if isinstance(value, str) else value
        self.reference = reference

    def reveal(self) -> bytes:
        """The secret itself, for the pipe or memory file that carries it."""
        return self._value

    def digest(self, key: bytes) -> str:
        """A keyed digest for comparison, 12 hexadecimal digits; never a plain digest of the value."""
        return hmac.new(key, self._value, hashlib.sha256).hexdigest()[:12]

    def __repr__(self) -> str:
        return f"<secret: {self.reference}>"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._value, other._value)

    __hash__ = None  # type: ignore[assignment]  # a hash would be a digest of the value

    def __reduce__(self) -> str | tuple[object, ...]:
        msg = "a secret is never pickled"
        raise TypeError(msg)


class Redactor:
    """Replaces every known secret, in the forms in which programs print it, by a mask.

    Any `WINDOW` characters in a row of such a form are masked, so a secret that was cut, wrapped or embedded does
    not show either, and a look costs the text's length, however many secrets are known. Safe to use from several
    threads.
    """

    def __init__(self) -> None:
        # By length, because a secret shorter than the window is known as a whole only; no length is ever added, so
        # that one thread may look while another learns.
        self._pieces: dict[int, set[str]] = {size: set() for size in range(SHORTEST_MASKED, WINDOW + 1)}

    def add(self, secret: Secret) -> None:
        """Learn a secret: as it is, in base64 at every alignment, in URL, JSON and shell form.

        What is itself base64 of a text is known by that text as well. Armour lines of PEM texts stay readable.
        """
        value = secret.reveal().strip()
        for each in (value, _decoded(value)):
            armour = {piece for line in _ARMOUR.findall(_text(each)) for piece in _cut(line)}
            for piece in {piece for form in _forms(each) for piece in _cut(form)} - armour:
                self._pieces[len(piece)].add(piece)

    def redact(self, text: str) -> str:
        """The text with every known secret masked."""
        found = sorted(
            (at, at + size)
            for size, known in self._pieces.items()
            if known
            for at in range(len(text) - size + 1)
            if text[at : at + size] in known
        )
        parts: list[str] = []
        end = 0
        for start, stop in found:
            if start > end or not parts:
                parts += (text[end:start], MASK)
            end = max(end, stop)
        return "".join((*parts, text[end:]))


def _cut(form: str) -> Iterator[str]:
    """The pieces that give a form away."""
    if SHORTEST_MASKED <= len(form) < WINDOW:
        yield form
    for at in range(len(form) - WINDOW + 1):
        yield form[at : at + WINDOW]


def _forms(value: bytes) -> set[str]:
    text = _text(value)
    escaped = json.dumps(text, ensure_ascii=False)[1:-1]
    return {
        text,
        quote(value, safe=""),
        quote(value),
        quote_plus(value),
        json.dumps(text)[1:-1],
        escaped,
        # Go escapes these three in JSON, for browsers (encoding/json, HTMLEscape).
        escaped.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"),
        shlex.quote(text),
        text.replace("'", "'\\''"),
        *_base64(value),
    }


def _base64(value: bytes) -> Iterator[str]:
    """What base64 makes of the value at the end of a longer text, for each place modulo 3 where it may begin.

    What more the text holds before and after it shows in the first and last characters only.
    """
    for shift in range(3):
        padded = b"\0" * shift + value
        # Characters of 6 bits each: the first ones hold bits of what comes before.
        first = -(-shift * 8 // 6)
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            yield encode(padded).decode()[first:]


def _decoded(value: bytes) -> bytes:
    """The text that the value is base64 of; empty when it is none."""
    try:
        inner = base64.b64decode(value, validate=True)
        inner.decode()
    except (binascii.Error, ValueError):
        return b""
    return inner.strip()


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")
