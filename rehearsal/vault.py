"""The lab's 1Password vault: throw-away secrets, in memory only."""

from __future__ import annotations

import hashlib
import threading


class Vault:
    """Items with fields, as 1Password Connect shows them.

    Args:
        name: the vault's name, the first part of an `op://` reference.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.identity = _identity(name)
        self._lock = threading.Lock()
        self._items: dict[str, dict[str, str]] = {}

    def put(self, item: str, fields: dict[str, str]) -> None:
        """Store an item under its title; an item of that title is replaced."""
        with self._lock:
            self._items[item] = dict(fields)

    def create(self, item: str, fields: dict[str, str]) -> dict[str, object] | None:
        """Store a further item and give it as Connect shows it; None where one of that title is there."""
        with self._lock:
            if item in self._items:
                return None
            self._items[item] = dict(fields)
        return self.item(_identity(item))

    def change(self, identity: str, field: str, value: str) -> dict[str, object] | None:
        """Set one field of an item by its id and give the item; None when there is no such item."""
        with self._lock:
            name = next((name for name in self._items if _identity(name) == identity), None)
            if name is None:
                return None
            self._items[name][field] = value
        return self.item(identity)

    def field(self, item: str, field: str) -> str:
        """One value; KeyError when there is none."""
        with self._lock:
            return self._items[item][field]

    def describe(self) -> dict[str, object]:
        """The vault as Connect lists it."""
        return {"id": self.identity, "name": self.name, "items": len(self._items), "type": "USER_CREATED"}

    def overviews(self, title: str) -> list[dict[str, object]]:
        """Items without their fields; all of them when no title is asked for."""
        with self._lock:
            return [self._overview(name) for name in self._items if title in {"", name}]

    def item(self, identity: str) -> dict[str, object] | None:
        """One item with its fields, by id; None when there is none."""
        with self._lock:
            for name, fields in self._items.items():
                if _identity(name) == identity:
                    shown = [
                        {"id": label, "label": label, "type": "CONCEALED", "value": value}
                        for label, value in fields.items()
                    ]
                    return {**self._overview(name), "fields": shown}
        return None

    def _overview(self, name: str) -> dict[str, object]:
        return {
            "id": _identity(name),
            "title": name,
            "vault": {"id": self.identity},
            "category": "SECURE_NOTE",
        }


def _identity(name: str) -> str:
    # Connect's ids are 26 characters of lower-case base 32; digits and a to f are among them.
    return hashlib.sha256(name.encode()).hexdigest()[:26]
