"""The supervisor reads back what was written for it; locks tell who looks from who holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from bootstrap.host.locks import is_held, try_lock
from rehearsal.settings import Emulator, from_json
from tests.unit.rehearsal.bench import MACHINE, make_settings


def test_settings_survive_json(tmp_path: Path) -> None:
    settings = make_settings(tmp_path, tmp_path, {"ip": Path("/sbin/ip")}, machines=(MACHINE, MACHINE))
    assert from_json(settings.to_json()) == settings
    assert from_json(settings.to_json()).to_json() == settings.to_json()


def test_settings_hold_no_secret(tmp_path: Path) -> None:
    settings = make_settings(tmp_path, tmp_path, {})
    assert "PRIVATE" not in settings.to_json()
    assert settings.authority_key.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("version", "accelerator", "fast"),
    [
        ("7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3)", "tcg,thread=multi", False),
        ("8.1.3", "tcg", False),
        ("8.2.0-rc1", "tcg", True),
        ("8.2.2 (Debian 1:8.2.2+ds-0ubuntu1)", "tcg", True),
        ("10.0.2 (Debian 1:10.0.2+ds-2+deb13u1~bpo12+1)", "tcg", True),
        ("6.2.0", "kvm", True),
    ],
)
def test_a_qemu_is_quick_at_ciphers_by_its_version_or_by_acceleration(
    version: str, accelerator: str, *, fast: bool
) -> None:
    assert Emulator(Path("/usr/bin/qemu-system-x86_64"), version, accelerator).has_fast_ciphers is fast


def test_who_only_looks_is_not_taken_for_the_lab(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    lock.touch()
    with lock.open() as one, lock.open() as two, lock.open() as three:
        assert not is_held(one)
        assert not is_held(two)
        assert try_lock(three)
        assert is_held(one)
        assert not try_lock(two)
