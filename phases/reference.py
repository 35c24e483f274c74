"""The files that are made from the code; `./invoke docs` renews them, and a test holds them to their sources."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bootstrap.host.files import write_atomically
from bootstrap.views import configuration

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path


def _inventory_schema() -> str:
    from inventory import schema  # pydantic takes 130 ms to import

    return schema.json_schema()


def _phases() -> str:
    from phases import page  # it imports every phase

    return page.reference_page()


def _report_schema() -> str:
    from bootstrap.views import schema  # as above

    return schema.json_schema()


# By path below the repository; the text of each is a function of the code alone.
FILES: Final[Mapping[str, Callable[[], str]]] = {
    "docs/reference/config.md": configuration.reference_page,
    "docs/reference/phases.md": _phases,
    "docs/reference/report.schema.json": _report_schema,
    "inventory/schema.json": _inventory_schema,
}


def stale(root: Path) -> tuple[str, ...]:
    """The files that are not there or differ from their source."""
    return tuple(name for name, make in FILES.items() if _text(root / name) != make())


def renew(root: Path) -> tuple[str, ...]:
    """Write the stale ones; names them."""
    names = stale(root)
    for name in names:
        write_atomically(root / name, FILES[name]().encode())
    return names


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""
