"""apt is asked with a configuration of its own, and its first word of an error is passed on."""

from __future__ import annotations

from pathlib import Path

import pytest

from bootstrap.host.commands import Command, CommandError, Result
from rehearsal.debian import Archive

NOTHING = Result(0, b"", b"", 0.0)


class Apt:
    """Answers as apt-get does; keeps the configuration that it was given."""

    def __init__(self, targets: str | CommandError = "", failure: CommandError | None = None) -> None:
        self.asked: list[Command] = []
        self.configuration = ""
        self.sources = ""
        self._targets = targets
        self._failure = failure

    def run(self, command: Command) -> Result:
        self.asked.append(command)
        if "indextargets" in command.arguments:
            if isinstance(self._targets, CommandError):
                raise self._targets
            return Result(0, self._targets.encode(), b"", 0.0)
        configuration = Path(str(command.arguments[2]))
        self.configuration = configuration.read_text()
        self.sources = (configuration.parent / "sources.list").read_text()
        if self._failure:
            raise self._failure
        return NOTHING


def test_packages_are_downloaded_apart_from_the_system(tmp_path: Path) -> None:
    apt = Apt("Docker https://download.docker.example/linux\nDebian http://mirror.example/debian/\n")
    environment = {"https_proxy": "http://proxy.example.test", "TOKEN": "planted"}
    Archive(("bookworm", "bookworm-backports"), apt, environment).download(["one", "two"], tmp_path / "debs")
    update, download = apt.asked[1:]
    assert update.arguments[3:] == ("update",)
    assert download.arguments[3:] == ("download", "one", "two")
    assert download.folder == tmp_path / "debs"
    assert update.environment == download.environment == {"https_proxy": "http://proxy.example.test"}
    assert [line.split("] ")[1] for line in apt.sources.splitlines()] == [
        "http://mirror.example/debian bookworm main", "http://mirror.example/debian bookworm-backports main",
    ]  # fmt: skip
    assert apt.sources.count("signed-by=/usr/share/keyrings/debian-archive-keyring.gpg") == 2
    folders = [line.split('"')[1] for line in apt.configuration.splitlines() if line.startswith("Dir::State")]
    assert folders
    assert all(folder.startswith(str(tmp_path)) for folder in folders)
    assert "#clear APT::Update::Post-Invoke-Success;" in apt.configuration
    # Lists and configuration are gone, the packages' folder stays.
    assert [path.name for path in tmp_path.iterdir()] == ["debs"]


@pytest.mark.parametrize(
    "targets",
    [
        "",
        "Ubuntu http://archive.ubuntu.com/ubuntu/\n",
        "Debian http://security.debian.org/debian-security/\n",
        CommandError("apt-get cannot be started", cause="no such file"),
    ],
)
def test_the_default_mirror_serves_where_there_is_none(tmp_path: Path, targets: str | CommandError) -> None:
    apt = Apt(targets)
    Archive(("bookworm",), apt, {}).download(["one"], tmp_path / "debs")
    assert "http://deb.debian.org/debian bookworm main" in apt.sources


@pytest.mark.parametrize(
    ("stderr", "cause"),
    [
        ("W: a warning about hosts\nE: Some index files failed to download.\n", "a warning about hosts"),
        ("E: Failed to fetch http://mirror/InRelease  Could not resolve 'mirror'\nE: Some index files failed.\n",
         "Failed to fetch http://mirror/InRelease  Could not resolve 'mirror'"),
        ("", "`apt-get` gave no answer within 180 s: no output"),
    ],
)  # fmt: skip
def test_what_apt_says_first_is_the_cause(tmp_path: Path, stderr: str, cause: str) -> None:
    failure = CommandError("`apt-get` gave no answer within 180 s", cause="no output", stderr=stderr)
    with pytest.raises(CommandError) as caught:
        Archive(("bookworm",), Apt(failure=failure), {}).download(["one"], tmp_path / "debs")
    assert caught.value.fact == "`apt-get update` failed"
    assert caught.value.cause == cause
