"""A secret that cannot be printed by accident, and the redactor that catches the rest."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import shlex
import threading
from typing import Final, final
from urllib.parse import quote

MASK: Final = "[redacted]"
# Shorter values would mask ordinary words; no generated secret is this short.
SHORTEST_MASKED: Final = 6


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

    Safe to use from several threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._needles: tuple[str, ...] = ()

    def add(self, secret: Secret) -> None:
        """Learn a secret: as it is, line by line, in base64, URL, JSON and shell form."""
        found = set(self._needles)
        text = secret.reveal().decode("utf-8", "replace").strip()
        for part in {text, *text.splitlines()}:
            found.update(form for form in _forms(part.strip()) if len(form) >= SHORTEST_MASKED)
        with self._lock:
            # Longest first, so that a secret inside a longer one leaves no remainder.
            self._needles = tuple(sorted(found | set(self._needles), key=len, reverse=True))

    def redact(self, text: str) -> str:
        """The text with every known secret masked."""
        for needle in self._needles:
            if needle in text:
                text = text.replace(needle, MASK)
        return text


def _forms(value: str) -> set[str]:
    raw = value.encode()
    return {
        value,
        base64.b64encode(raw).decode(),
        base64.b64encode(raw).decode().rstrip("="),
        base64.urlsafe_b64encode(raw).decode(),
        quote(value, safe=""),
        json.dumps(value)[1:-1],
        shlex.quote(value),
    }
