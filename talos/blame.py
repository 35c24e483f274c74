"""Who is at fault when talosctl does not render: it names neither the patch that it refuses nor the bundle."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from bootstrap.host import yaml_io
from bootstrap.host.commands import CommandError
from bootstrap.host.errors import InputError, Problem
from talos.documents import source_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from bootstrap.host.secret import Secret

# What talosctl puts before the reason.
_PREFIXES: Final = re.compile(
    r"^(?:error parsing config JSON patch: |failed to generate config bundle: |error patching configs: "
    r"|decode error: |error decoding [^:]*: |yaml: |unmarshal errors:\s*)+"
)
_LINE: Final = re.compile(r"\bline (\d+): ")
_UNKNOWN_KEYS: Final = "unknown keys found during decoding:\n"


def patch(
    files: Sequence[Path],
    render: Callable[[Sequence[Path]], object],
    error: CommandError,
    secret: Secret,
    *,
    root: Path,
) -> Exception:
    """The error that names the patch at fault, or the bundle; the error itself where it is of neither.

    Args:
        files: the patches in the order in which they were applied.
        render: renders with the first of them; raises as it did with all.
        error: what talosctl said to all of them.
        secret: the bundle that was rendered with.
        root: the repository.
    """
    if error.exit_code_seen is None:
        return error
    if refused := bundle(secret, error):
        return refused
    for count in range(1, len(files) + 1):
        try:
            render(files[:count])
        except CommandError as found:
            problem = _patch_problem(files[count - 1], root, found.stderr)
            return InputError("talosctl refuses a patch of the machine configuration", (problem,))
    return error


def bundle(secret: Secret, error: CommandError) -> InputError | None:
    """The error that says why talosctl refuses a bundle; None where it does not."""
    if "secrets bundle" not in error.stderr:
        return None
    items = re.findall(r"^\s*\* (.+)$", error.stderr, re.MULTILINE)
    return InputError(
        f"talosctl refuses the secrets bundle {secret.reference}",
        tuple(Problem(item) for item in items),
        remedy="store there what `talosctl gen secrets` writes",
    )


def _patch_problem(file: Path, root: Path, text: str) -> Problem:
    source = source_of(file, root)
    text = _PREFIXES.sub("", text.strip())
    if text.startswith(_UNKNOWN_KEYS):
        return _unknown_key(file, source, text.removeprefix(_UNKNOWN_KEYS))
    line = _LINE.search(text)
    return Problem(_LINE.sub("", text.splitlines()[0] if text else "refused"), source, int(line[1]) if line else 0)


def _unknown_key(file: Path, source: str, keys: str) -> Problem:
    """The place of unknown keys; talosctl prints them as YAML with all that leads to them."""
    path: tuple[str | int, ...] = ()
    found = yaml_io.load(keys, source=source)
    while isinstance(found, (dict, list)) and len(found) == 1:
        key, found = next(iter(found.items())) if isinstance(found, dict) else (0, found[0])
        path = (*path, key)
    name = ".".join(str(part) for part in path)
    text = f"`{name}` is an unknown key"
    if isinstance(found, dict) and found:
        text = f"`{name}` has unknown keys: {', '.join(found)}"
    content = file.read_bytes()
    for document in range(len(yaml_io.load_all(content, source=source))):
        places = yaml_io.positions(content, source=source, document=document)
        if path in places:
            return Problem(text, source, places[path].line, places[path].column)
    return Problem(text, source)
