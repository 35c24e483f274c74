"""The values that may stand in an inventory file, each with its pattern for editors."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, WithJsonSchema

if TYPE_CHECKING:
    from collections.abc import Callable

_LABEL: Final = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
# Cilium limits a cluster's name to 32 characters.
_CLUSTER_NAME: Final = r"^[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?$"
_VERSION: Final = r"^[0-9]+\.[0-9]+\.[0-9]+$"
_MAC: Final = r"^([0-9a-f]{2}:){5}[0-9a-f]{2}$"
_DEVICE: Final = r"^/dev/[^\s]+$"
_DRIVER: Final = r"^[a-z0-9_-]+$"
_GIT_URL: Final = r"^(https://|ssh://([^\s/:@]+@)?)[^\s/@]+/[^\s]+$"
_GIT_REF: Final = r"^refs/(heads|tags)/[^\s]+$"
_FOLDER: Final = r"^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*$"
_HOST: Final = r"^[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?$"
# The kernel's names of network interfaces: 15 characters, no slash, no blank (IFNAMSIZ in linux/if.h).
_LINK: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,14}$"
# Talos' own grammar of `machine.install.diskSelector.size`.
_DISK_SIZE: Final = r"^(<=|>=|<|>|==)? ?[0-9]+(\.[0-9]+)? ?[KMGTP]i?B$"
_HTTP_URL: Final = r"^https?://[^\s/@]+/?$"
_REFERENCE: Final = r"^(op://[^/\s]+/[^/\s]+(/[^/\s]+){1,2}|env://[A-Za-z_][A-Za-z0-9_]*|file:///[^\s]+)$"


def _matching(pattern: str, wanted: str) -> Callable[[str], str]:
    compiled = re.compile(pattern)

    def check(value: str) -> str:
        if not compiled.fullmatch(value):
            raise ValueError(f"is not {wanted}")
        return value

    return check


def _filled(values: tuple[Any, ...]) -> tuple[Any, ...]:
    # pydantic's own minimum also complains when items are there but malformed, which says the same twice.
    if not values:
        raise ValueError("is an empty list")
    return values


def _endpoint(value: str) -> str:
    try:
        parts = urlsplit(value)
        complete = parts.scheme == "https" and bool(parts.hostname) and parts.port is not None and "@" not in value
    except ValueError:
        complete = False
    if not complete or parts.path.strip("/"):
        raise ValueError("is not of the form https://NAME:PORT")
    return value


FILLED: Final = (AfterValidator(_filled), Field(json_schema_extra={"minItems": 1}))


def _text(pattern: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": pattern})


ClusterName = Annotated[
    str,
    AfterValidator(_matching(_CLUSTER_NAME, "a name of at most 32 of a-z, 0-9 and -")),
    _text(_CLUSTER_NAME),
]
NodeName = Annotated[
    str, AfterValidator(_matching(_LABEL, "a host name of at most 63 of a-z, 0-9 and -")), _text(_LABEL)
]
Version = Annotated[str, AfterValidator(_matching(_VERSION, "a version of the form 1.2.3, without v")), _text(_VERSION)]
Mac = Annotated[
    str,
    AfterValidator(_matching(_MAC, "a hardware address of the form 52:54:00:12:34:56, lower case")),
    _text(_MAC),
]
Device = Annotated[str, AfterValidator(_matching(_DEVICE, "a path below /dev")), _text(_DEVICE)]
Driver = Annotated[str, AfterValidator(_matching(_DRIVER, "the name of a kernel driver")), _text(_DRIVER)]
Link = Annotated[
    str, AfterValidator(_matching(_LINK, "a name that the kernel gives to a port, at most 15 characters")), _text(_LINK)
]
DiskSize = Annotated[str, AfterValidator(_matching(_DISK_SIZE, "a size such as 500GB or >= 500GB")), _text(_DISK_SIZE)]
GitUrl = Annotated[str, AfterValidator(_matching(_GIT_URL, "an https or ssh URL without a password")), _text(_GIT_URL)]
GitRef = Annotated[str, AfterValidator(_matching(_GIT_REF, "a full ref name such as refs/heads/main")), _text(_GIT_REF)]
Folder = Annotated[
    str,
    AfterValidator(_matching(_FOLDER, "a folder of the repository, without leading ./ or /")),
    _text(_FOLDER),
]
Host = Annotated[str, AfterValidator(_matching(_HOST, "a host name or an address")), _text(_HOST)]
HttpUrl = Annotated[
    str, AfterValidator(_matching(_HTTP_URL, "of the form https://NAME or http://NAME")), _text(_HTTP_URL)
]
Endpoint = Annotated[str, AfterValidator(_endpoint), _text(r"^https://[^\s/:]+:[0-9]+/?$")]
Reference = Annotated[
    str,
    AfterValidator(_matching(_REFERENCE, "of the form op://vault/item/field, env://NAME or file:///path")),
    _text(_REFERENCE),
]
Seconds = Annotated[int, Field(strict=True, gt=0)]
Count = Annotated[int, Field(strict=True, gt=0)]
Address = Annotated[IPv4Address, WithJsonSchema({"type": "string", "format": "ipv4"})]
Network = Annotated[IPv4Network, WithJsonSchema({"type": "string", "pattern": r"^[0-9.]+/[0-9]{1,2}$"})]
