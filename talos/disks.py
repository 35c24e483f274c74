"""Which disk an install would take, and what stands on it: told before anything is applied.

The rules are those of Talos' own `machine.install.diskSelector` (v1.11.5, `InstallConfig.DiskMatchExpression`): only
disks with a transport, neither read-only nor a CD drive; model and serial are patterns with `*`.
"""

from __future__ import annotations

import operator
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from inventory.model import DiskSelector
    from talos.resources import Disk, Volume

# Talos' own partitions that hold nothing of a cluster; a machine that was reset keeps them.
SYSTEM_LABELS: Final = frozenset({"EFI", "BIOS", "BOOT", "META"})
# Talos' partitions with a node's configuration and with everything else of it, etcd's data included.
STATE_LABELS: Final = frozenset({"STATE", "EPHEMERAL"})
# What is recognised on a disk that is only divided, or on one without anything.
_DIVIDED: Final = frozenset({"", "gpt", "mbr"})
_COMPARISON: Final = re.compile(r"(>=|<=|>|<|==)?\s*([0-9.]+)\s*([kKMGTP]?)(i?)[bB]?")
_COMPARE: Final[dict[str, Callable[[float, float], bool]]] = {
    ">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt, "==": operator.eq, "": operator.eq,
}  # fmt: skip
_POWERS: Final = ("", "K", "M", "G", "T", "P")


def candidates(disks: Iterable[Disk], path: str, selector: DiskSelector | None) -> tuple[Disk, ...]:
    """The disks that an install could take.

    Args:
        disks: of the machine.
        path: device path, or one of the links to it below /dev/disk; empty when the selector says it.
        selector: what the disk must be; None when the path says it.
    """
    usable = [disk for disk in disks if disk.transport and disk.writable]
    if selector is None:
        return tuple(disk for disk in usable if path in {disk.path, *disk.symlinks})
    return tuple(disk for disk in usable if _matches(disk, selector))


def kept(volumes: Iterable[Volume], disk: str = "") -> tuple[Volume, ...]:
    """What a machine has on a disk that an install would destroy.

    Partitions of Talos' own that hold nothing are left out: a machine that was reset has them.

    Args:
        volumes: of the machine.
        disk: path of the disk; empty looks at every disk for a node's own state alone.
    """
    if not disk:
        return tuple(each for each in volumes if each.label in STATE_LABELS and each.content)
    return tuple(each for each in volumes if _is_on(each, disk) and _holds_something(each))


def _is_on(volume: Volume, disk: str) -> bool:
    return volume.disk == disk or (not volume.partition and f"/dev/{volume.name}" == disk)


def _holds_something(volume: Volume) -> bool:
    if not volume.partition:
        return volume.content not in _DIVIDED
    return volume.label not in SYSTEM_LABELS and (volume.label not in STATE_LABELS or bool(volume.content))


def _matches(disk: Disk, selector: DiskSelector) -> bool:
    kinds = {
        "": True,
        "nvme": disk.transport == "nvme",
        "sd": disk.transport == "mmc",
        "hdd": disk.rotational,
        "ssd": not disk.rotational,
    }
    return (
        kinds.get(selector.kind, False)
        and _fits(selector.model, disk.model)
        and _fits(selector.serial, disk.serial)
        and _is_of_size(selector.size, disk.size)
    )


def _fits(pattern: str, value: str) -> bool:
    return not pattern or re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), value) is not None


def _is_of_size(comparison: str, size: int) -> bool:
    if not comparison:
        return True
    found = _COMPARISON.fullmatch(comparison.strip())
    if not found:
        return False
    compare, number, unit, binary = found.groups()
    wanted = float(number) * (1024 if binary else 1000) ** _POWERS.index(unit.upper())
    return _COMPARE[compare or ""](size, wanted)
