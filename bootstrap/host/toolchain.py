"""The Go toolchain of this machine and what a build inherits from the user's environment."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bootstrap.host.commands import Command, CommandRunner

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bootstrap.host.programs import Program

# How the user's machine reaches modules and finds its C compiler. GOOS and GOARCH stay out: it is for here.
PASSED_ON: Final = (
    "ALL_PROXY", "CC", "CGO_CFLAGS", "CGO_LDFLAGS", "GIT_SSL_CAINFO", "GOAUTH", "GOCACHE", "GOENV", "GOFLAGS",
    "GOINSECURE", "GOMODCACHE", "GONOPROXY", "GONOSUMDB", "GOPATH", "GOPRIVATE", "GOPROXY", "GOROOT",
    "GOSUMDB", "GOTOOLCHAIN", "GOVCS", "HTTPS_PROXY", "HTTP_PROXY", "NETRC", "NO_PROXY", "PKG_CONFIG",
    "PKG_CONFIG_PATH",
    "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "all_proxy", "http_proxy", "https_proxy", "no_proxy",
)  # fmt: skip
# Answers at once; a busy machine under emulation gets a minute.
ASK_SECONDS: Final = 60.0


@dataclass(frozen=True)
class Go:
    """A Go toolchain.

    Attributes:
        program: the `go` command.
        version: for example `1.26.8`.
        platform: for example `linux/amd64`.
        cache: its build cache, where most of the disk space goes.
        may_change: whether the user allowed it to fetch another toolchain (`GOTOOLCHAIN`).
    """

    program: Path
    version: str
    platform: str
    cache: Path
    may_change: bool

    def is_older_than(self, version: str) -> bool:
        """Whether a newer toolchain is needed for sources that ask for `version`."""
        return not self.may_change and _numbers(self.version) < _numbers(version)


def build_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """What every Go command of ours gets, from the user's environment.

    Args:
        environment: usually `os.environ`.
    """
    passed = {name: environment[name] for name in PASSED_ON if name in environment}
    # Unasked, no toolchain is downloaded; a go.work of the user's above us must not join in.
    return {"GOTOOLCHAIN": "local", **passed, "GO111MODULE": "on", "GOWORK": "off"}


def find_go(runner: CommandRunner, environment: Mapping[str, str], search_path: str, folder: Path) -> Go | None:
    """The machine's Go, or None when there is none on the search path.

    Args:
        runner: starts it.
        environment: as `build_environment` gave it.
        search_path: folders separated by colons.
        folder: an existing folder without a `go.mod`.

    Raises:
        CommandError: it is there but does not answer.
    """
    found = shutil.which("go", path=search_path)
    if found is None:
        return None
    names = ("GOVERSION", "GOOS", "GOARCH", "GOCACHE")
    answer = runner.run(
        Command(Path(found), ("env", "-json", *names), environment=environment, timeout=ASK_SECONDS, folder=folder)
    )
    values: dict[str, str] = json.loads(answer.stdout)
    return Go(
        program=Path(found),
        version=values["GOVERSION"].removeprefix("go"),
        platform=f"{values['GOOS']}/{values['GOARCH']}",
        cache=Path(values["GOCACHE"]),
        may_change=environment.get("GOTOOLCHAIN", "local") != "local",
    )


def needed_go(recipe: Path) -> str:
    """The lowest Go version that a recipe's `go.mod` accepts, for example `1.25.0`.

    Raises:
        OSError: the recipe has no readable `go.mod`.
    """
    line = re.search(r"^go (\S+)", (recipe / "go.mod").read_text(), re.MULTILINE)
    return line.group(1) if line else "1.0"


def recipe_key(root: Path, program: Program, go: Go) -> str:
    """Names what a build would make: 16 hexadecimal digits over recipe, what it is built with, and toolchain.

    Raises:
        OSError: the recipe cannot be read.
    """
    parts = (
        program.name, program.version, program.package, program.tags, program.variables, program.cgo,
        program.environment, program.copies, program.keeps, go.version, go.platform,
    )  # fmt: skip
    digest = hashlib.sha256(f"{parts!r}\n".encode())
    recipe = root / program.recipe
    for path in sorted(path for path in recipe.rglob("*") if path.is_file()):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(recipe).as_posix()} {content}\n".encode())
    return digest.hexdigest()[:16]


def _numbers(version: str) -> tuple[int, ...]:
    """`1.26.8` as numbers; a release candidate counts as its release, an unknown form as newest."""
    match = re.match(r"(?:devel go)?(\d+)\.(\d+)(?:\.(\d+))?", version)
    return tuple(int(part or 0) for part in match.groups()) if match else (999,)
