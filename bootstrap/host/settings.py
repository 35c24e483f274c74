"""Every setting of the tool and where it may be given; `bootstrap.host.configuration` finds its value.

A secret is never a setting: secrets are references in the inventory. Imports nothing heavy, because `tasks.py`
takes the help of its flags from here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Generic, TypeAlias, TypeVar

from bootstrap.host.names import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Value: TypeAlias = bool | int | str | Path
ValueT_co = TypeVar("ValueT_co", bound=Value, covariant=True)

PREFIX: Final = "FIRSTLIGHT_"
# What the tool hands on to programs that it starts, itself inside the lab among them; nobody else sets them.
INTERNAL: Final = frozenset(
    {
        "FIRSTLIGHT_CORE",
        "FIRSTLIGHT_HELM_WAIT",
        "FIRSTLIGHT_INSIDE_LAB",
        "FIRSTLIGHT_INVOKE",
        "FIRSTLIGHT_LAB",
        "FIRSTLIGHT_RUN",
    }
)
# What our own tests read begins so, and is nothing to a command.
TESTING: Final = "FIRSTLIGHT_TEST_"
# Variables that others defined and that are understood as they mean them.
FOREIGN: Final = {
    "XDG_CACHE_HOME": "where the cache is by default",
    "PATH": "where programs are looked for before they are built",
    "GOPROXY, GOCACHE, CC, HTTPS_PROXY, NO_PROXY": "how programs are built, with the others of Go, C and proxies",
    "OP_CONNECT_HOST, OP_CONNECT_TOKEN": "1Password Connect: its host, before the inventory's, and its token",
    "TERM, CI, NO_COLOR": "a live view where a terminal can draw it and no CI system keeps the lines; colour",
    "GITHUB_ACTIONS, GITHUB_STEP_SUMMARY": "annotations and the summary of a workflow",
}
# Steps at the same time: more than the independent steps of any phase, few beside what one machine can bear.
DEFAULT_WORKERS: Final = 8
# Each is a thread that mostly waits; more than this is a slip of the finger.
MOST_WORKERS: Final = 64


@dataclass(frozen=True)
class Kind(Generic[ValueT_co]):
    """What a setting may be.

    Attributes:
        name: as the reference shows it.
        read: makes the value of a text; raises ValueError, which completes `"text" is ...`.
        written: the type that it has in a YAML file.
    """

    name: str
    read: Callable[[str], ValueT_co]
    written: type = str


@dataclass(frozen=True, kw_only=True)
class Setting(Generic[ValueT_co]):
    """One thing that an operator can choose.

    Attributes:
        name: whole words, joined by hyphens; flag, variable and key follow from it.
        kind: what it may be.
        default: its value when nobody gives one; a function gets the environment.
        help: one line, completes `--name: ...`.
        shown: the default in words, where it depends on the machine.
        has_flag: false where it must be known before any task is.
        has_key: false for what is asked of one run alone, and so never of a file.
    """

    name: str
    kind: Kind[ValueT_co]
    default: ValueT_co | Callable[[Mapping[str, str]], ValueT_co]
    help: str
    shown: str = ""
    has_flag: bool = True
    has_key: bool = True

    @property
    def flag(self) -> str:
        """On the command line."""
        return f"--{self.name}"

    @property
    def variable(self) -> str:
        """In the environment."""
        return PREFIX + self.name.upper().replace("-", "_")

    @property
    def key(self) -> str:
        """In the file, spelled as the inventory's keys are."""
        first, *others = self.name.split("-")
        return first + "".join(other.title() for other in others)


# A registry holds settings of all kinds.
AnySetting: TypeAlias = Setting[Any]


def _truth(text: str) -> bool:
    if text.lower() not in {"true", "false", "1", "0"}:
        raise ValueError("is neither true nor false")
    return text.lower() in {"true", "1"}


def _whole_number(lowest: int, highest: int) -> Kind[int]:
    wanted = f"a whole number from {lowest} to {highest}"

    def read(text: str) -> int:
        if not (text.isascii() and text.isdecimal() and lowest <= int(text) <= highest):
            raise ValueError(f"is not {wanted}")
        return int(text)

    return Kind(wanted, read, int)


def _choice(*known: str) -> Kind[str]:
    def read(text: str) -> str:
        if text not in known:
            raise ValueError(f"is none of {', '.join(known)}; {nearest(text, known)}")
        return text

    return Kind(f"one of {', '.join(known)}", read)


TRUTH: Final = Kind("true or false", _truth, bool)
TEXT: Final = Kind("text", str)
PATH: Final = Kind("path", lambda text: Path(text).expanduser())


def _default_cache(environment: Mapping[str, str]) -> Path:
    from bootstrap.host.toolbox import default_cache

    return default_cache(environment)


ROOT: Final = Setting(
    name="root", kind=PATH, default=lambda _: Path(__file__).parents[2], shown="where the code is",
    help="the repository with inventory, machine configuration and Git tree", has_flag=False, has_key=False,
)  # fmt: skip
CACHE: Final = Setting(
    name="cache", kind=PATH, default=_default_cache, shown="`$XDG_CACHE_HOME/firstlight`, else `~/.cache/firstlight`",
    help="programs, images and the lab; 20 GB, a short path", has_flag=False,
)  # fmt: skip
CLUSTER: Final = Setting(name="cluster", kind=TEXT, default="", help="a cluster of inventory/", shown="none")
OUTPUT: Final = Setting(
    name="output", kind=_choice("text", "json"), default="text",
    help="text, or json for data on standard output; a run gives one event a line",
)  # fmt: skip
ONLY: Final = Setting(
    name="only", kind=TEXT, default="", help="phases or steps to run, separated by commas", shown="all", has_key=False
)
FROM: Final = Setting(
    name="from", kind=TEXT, default="", help="the phase or step to begin with", shown="the first", has_key=False
)
SKIP: Final = Setting(
    name="skip", kind=TEXT, default="", help="phases or steps to leave out, separated by commas", shown="none",
    has_key=False,
)  # fmt: skip
YES: Final = Setting(
    name="yes", kind=TRUTH, default=False, help="do not ask before real machines are changed", has_key=False
)
DRY_RUN: Final = Setting(
    name="dry-run", kind=TRUTH, default=False, help="show what a run would do, from the files alone", has_key=False
)
LIVE: Final = Setting(
    name="live", kind=TRUTH, default=False, help="with --dry-run, also look at the real world", has_key=False
)
REBUILD_JOURNAL: Final = Setting(
    name="rebuild-journal", kind=TRUTH, default=False, help="move the cluster's journal aside and begin another",
    has_key=False,
)  # fmt: skip
ACCEPT_CHANGED_PLAN: Final = Setting(
    name="accept-changed-plan", kind=TRUTH, default=False, has_key=False,
    help="go on although files changed that steps of an unfinished run follow from",
)  # fmt: skip
FORCE_CONFLICTS: Final = Setting(
    name="force-conflicts", kind=TEXT, default="", shown="none", has_key=False,
    help="definitions whose fields are taken from other managers, separated by commas",
)  # fmt: skip
ROTATE: Final = Setting(
    name="rotate", kind=TRUTH, default=False, has_key=False,
    help="replace secrets of bootstrap/resources.yaml that hold other content in the cluster",
)  # fmt: skip
PROVE: Final = Setting(
    name="prove", kind=TRUTH, default=False, has_key=False,
    help="give again what only writing can prove, where the last proof would be shown with its age",
)  # fmt: skip
STRICT_BUDGETS: Final = Setting(
    name="strict-budgets", kind=TRUTH, default=False, help="fail when a phase or the run misses its target"
)
CHARTS: Final = Setting(
    name="charts", kind=TEXT, default="", shown="none", has_key=False,
    help="a folder of charts that the lab publishes in place of its stand-ins, such as the real ones",
)  # fmt: skip
WORKERS: Final = Setting(
    name="workers", kind=_whole_number(1, MOST_WORKERS), default=DEFAULT_WORKERS, help="steps at the same time",
    has_flag=False,
)  # fmt: skip
QEMU: Final = Setting(
    name="qemu", kind=TEXT, default="", help="a qemu-system-x86_64 that runs the lab's machines", has_flag=False,
    has_key=False, shown="the system's, or a newer one of Debian's",
)  # fmt: skip

REGISTRY: Final[tuple[AnySetting, ...]] = (
    CLUSTER,
    OUTPUT,
    ONLY,
    FROM,
    SKIP,
    YES,
    DRY_RUN,
    LIVE,
    REBUILD_JOURNAL,
    ACCEPT_CHANGED_PLAN,
    FORCE_CONFLICTS,
    ROTATE,
    PROVE,
    STRICT_BUDGETS,
    CHARTS,
    WORKERS,
    CACHE,
    QEMU,
    ROOT,
)
