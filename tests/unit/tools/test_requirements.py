"""requirements.txt says what uv.lock says; `uv export` makes it, pip reads it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_the_requirements_are_those_of_the_lock() -> None:
    lock = tomllib.loads((ROOT / "uv.lock").read_text())
    locked = {
        (package["name"], package["version"], digest["hash"])
        for package in lock["package"]
        if "registry" in package["source"]
        for digest in [*package.get("wheels", []), *([package["sdist"]] if "sdist" in package else [])]
    }
    text = (ROOT / "requirements.txt").read_text().replace("\\\n", " ")
    required = {
        (name, version, digest)
        for name, version, rest in re.findall(r"^([\w.-]+)==([^\s;]+)(.*)$", text, re.MULTILINE)
        for digest in re.findall(r"--hash=(\S+)", rest)
    }
    assert required == locked, "uv export --frozen --all-groups --no-emit-project -o requirements.txt"
