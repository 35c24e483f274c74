"""The words of the command line; every task is thin, the work is done in the packages."""

from __future__ import annotations

import os
import sys
import time
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invoke import Collection, Context, Exit, task

if TYPE_CHECKING:
    from collections.abc import Callable

    from bootstrap.host.commands import ShCommandRunner


def _root() -> Path:
    return Path(os.environ.get("FIRSTLIGHT_ROOT", Path(__file__).parent)).resolve()


def _cache() -> Path:
    from bootstrap.host.toolbox import default_cache

    return default_cache(os.environ)


def _runner() -> ShCommandRunner:
    from bootstrap.host.commands import ShCommandRunner
    from bootstrap.host.secret import Redactor

    return ShCommandRunner(Redactor())


def _reporter() -> Callable[[str], None]:
    began = time.monotonic()

    def report(text: str) -> None:
        sys.stderr.write(f"{time.monotonic() - began:7.1f}s  {text}\n")
        sys.stderr.flush()

    return report


def _edge(body: Callable[..., None]) -> Callable[..., None]:
    """Turns our errors into lines and exit codes; nothing of them passes as a traceback."""

    @wraps(body)
    def guarded(*arguments: Any, **options: Any) -> None:
        from bootstrap.host.errors import FirstlightError
        from bootstrap.views.failure import render_failure

        try:
            body(*arguments, **options)
        except FirstlightError as error:
            raise Exit(render_failure(error), int(error.exit_code)) from None

    return guarded


@task(name="up")
@_edge
def lab_up(_: Context, cluster: str = "lab") -> None:
    """Start the lab of a cluster: virtual machines with real Talos in a private network."""
    from inventory.loader import load
    from rehearsal.entry import bring_up

    report = _reporter()
    bring_up(_root(), _cache(), load(_root(), cluster), _runner(), report)
    report("the lab is up; ./invoke lab.down ends it")


@task(name="down")
@_edge
def lab_down(_: Context) -> None:
    """End the lab; nothing of it is left."""
    from rehearsal.lab import Lab

    ended = Lab(_cache()).down()
    sys.stderr.write("the lab is down\n" if ended else "no lab was running\n")


namespace = Collection()
namespace.add_collection(Collection("lab", lab_up, lab_down))
