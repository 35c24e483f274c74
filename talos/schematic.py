"""The id of an image factory schematic, computed offline, and the install image that follows from it.

The factory's id is the SHA-256 of the schematic as Go's yaml.v3 writes it: keys in the order of the factory's
own record, four columns of indentation, empty parts left out (siderolabs/image-factory, pkg/schematic).
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Final

from bootstrap.host import yaml_io
from bootstrap.host.errors import InputError, Problem

if TYPE_CHECKING:
    from pathlib import Path

    from bootstrap.host.yaml_io import Yaml
    from inventory.model import Cluster

# The id of the schematic without any customization: its installer is the plain one.
PLAIN: Final = "376567988ad370138ad8b2698212367b8edcb69b5fd68c80be1f2ec7d603b4ba"
PLAIN_INSTALLER: Final = "ghcr.io/siderolabs/installer"
# Since Talos 1.10 the platform is part of the installer's name.
FACTORY_INSTALLER: Final = "factory.talos.dev/metal-installer"

# Texts that would be read as something else stand in double quotes: words and base 60 of YAML 1.1, numbers,
# dates, the merge key.
_NOT_TEXT: Final = re.compile(
    r"""(?ix)^( y | n | yes | no | on | off | true | false | null | ~ | <<
        | [-+]? [0-9][0-9_]* (:[0-5]?[0-9])+ (\.[0-9_]*)?
        | [-+]? (0x[0-9a-f_]+ | 0o?[0-7_]+ | 0b[01_]+ | [0-9][0-9_]*)
        | [-+]? (\.[0-9]+ | [0-9]+(\.[0-9]*)?) (e[-+]?[0-9]+)?
        | [-+]? \.(inf|nan)
        | [0-9]{4}-[0-9]{1,2}-[0-9]{1,2} ([t\s].*)? )$"""
)
# Texts that cannot stand without quotes, because something in them is an indicator where it stands.
_NOT_PLAIN: Final = re.compile(r"""^[#,\[\]{}&*!|>'"%@`\ ]|^[-?:](\s|$)|^(---|\.\.\.)|:\s|:$|\s\#|\s$""")
_PRINTABLE: Final = re.compile(r"^[\x20-\x7e]+$")


def schematic_path(root: Path, cluster: str) -> Path:
    """Where a cluster's schematic lies."""
    return root / "talos" / cluster / "schematic.yaml"


def install_image(root: Path, cluster: Cluster) -> str:
    """The installer image of a cluster: the plain one, or the factory's for its schematic.

    Raises:
        InputError: the schematic is missing or cannot be read.
    """
    identity = schematic_id(root, cluster.name)
    repository = PLAIN_INSTALLER if identity == PLAIN else f"{FACTORY_INSTALLER}/{identity}"
    return f"{repository}:v{cluster.talos_version}"


def schematic_id(root: Path, cluster: str) -> str:
    """The id of a cluster's schematic, 64 hexadecimal digits.

    Raises:
        InputError: the file is missing, or holds what the factory does not know.
    """
    path = schematic_path(root, cluster)
    source = str(path.relative_to(root))
    documents = yaml_io.load_file(path, root=root)
    return compute_id(documents[0] if documents else {}, source=source)


def compute_id(document: Yaml, *, source: str) -> str:
    """The id of a schematic given as a document; see `schematic_id`."""
    return hashlib.sha256(_canonical(document, source).encode()).hexdigest()


def _canonical(document: Yaml, source: str) -> str:
    reader = _Reader(source)
    top = reader.mapping(document, "", ("overlay", "customization"))
    lines: list[str] = []
    overlay = reader.mapping(top.get("overlay"), "overlay", ("image", "name"))
    if overlay:
        lines += ["overlay:", *(f"    {key}: {reader.text(overlay.get(key))}" for key in ("image", "name"))]
    parts = _customization(reader, top.get("customization"))
    lines += ["customization:", *(f"    {line}" for line in parts)] if parts else ["customization: {}"]
    if reader.problems:
        raise InputError(f"{source} is not a schematic whose id can be computed", tuple(reader.problems))
    return "\n".join(lines) + "\n"


def _customization(reader: _Reader, value: Yaml) -> list[str]:
    keys = ("extraKernelArgs", "meta", "systemExtensions", "secureboot")
    parts = reader.mapping(value, "customization", keys)
    lines: list[str] = []
    if arguments := reader.items(parts.get("extraKernelArgs"), "extraKernelArgs"):
        lines += ["extraKernelArgs:", *(f"    - {reader.text(each)}" for each in arguments)]
    if meta := reader.items(parts.get("meta"), "meta"):
        lines.append("meta:")
        for each in meta:
            pair = reader.mapping(each, "meta", ("key", "value"))
            lines += [f"    - key: {reader.number(pair.get('key'))}", f"      value: {reader.text(pair.get('value'))}"]
    extensions = reader.mapping(parts.get("systemExtensions"), "systemExtensions", ("officialExtensions",))
    if official := reader.items(extensions.get("officialExtensions"), "officialExtensions"):
        lines += ["systemExtensions:", "    officialExtensions:"]
        lines += [f"        - {reader.text(each)}" for each in official]
    secureboot = reader.mapping(parts.get("secureboot"), "secureboot", ("includeWellKnownCertificates",))
    if secureboot.get("includeWellKnownCertificates") is True:
        lines += ["secureboot:", "    includeWellKnownCertificates: true"]
    return lines


class _Reader:
    """Takes the parts of a document and notes what is not of the factory's form."""

    def __init__(self, source: str) -> None:
        self._source = source
        self.problems: list[Problem] = []

    def mapping(self, value: Yaml, name: str, keys: tuple[str, ...]) -> dict[str, Yaml]:
        if value is None:
            return {}
        if not isinstance(value, dict):
            self._refuse(f"`{name}` is not a mapping" if name else "the document is not a mapping")
            return {}
        for key in value:
            if key not in keys:
                place = f"{name}.{key}" if name else key
                self._refuse(f"`{place}` is unknown; known: {', '.join(keys)}")
        return value

    def items(self, value: Yaml, name: str) -> list[Yaml]:
        if value is None or isinstance(value, list):
            return value or []
        self._refuse(f"`{name}` is not a list")
        return []

    def number(self, value: Yaml) -> str:
        if not isinstance(value, int) or isinstance(value, bool):
            self._refuse(f"{json.dumps(value)} is not a number")
        return str(value)

    def text(self, value: Yaml) -> str:
        """A text as yaml.v3 writes it."""
        if not isinstance(value, str):
            self._refuse(f"{json.dumps(value)} is not a text; put it in quotes")
            return ""
        if value == "":
            return '""'
        if not _PRINTABLE.match(value):
            self._refuse(f"{json.dumps(value)} holds characters whose canonical form is not known here")
            return ""
        if _NOT_TEXT.match(value):
            return json.dumps(value)
        return "'" + value.replace("'", "''") + "'" if _NOT_PLAIN.search(value) else value

    def _refuse(self, text: str) -> None:
        self.problems.append(Problem(text, self._source))
