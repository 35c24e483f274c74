"""No form of a secret survives, wherever it stands."""

from __future__ import annotations

import base64
import json
import re
import shlex
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bootstrap.host.secret import MASK, WINDOW, Redactor, Secret

if TYPE_CHECKING:
    from collections.abc import Callable

CANARY = "Tr0ub4dor&3 'says' \"hi\" <b>/+=?"
PEM = (
    "-----BEGIN EC PRIVATE KEY-----\n"
    "MHcCAQEEIIrYSSNQFaA2Hwf1duRSxKtLYX5CB04fSeQ6tF1aY/PuoAoGCCqGSM49\n"
    "AwEHoUQDQgAEPR3tU2Fta9ktY+6P9G0cWO+0kETA6SFs38GecTyudlHz6xvCdz8q\n"
    "-----END EC PRIVATE KEY-----\n"
)
# What programs write a text as, by name.
FORMS: dict[str, Callable[[str], str]] = {
    "raw": str,
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64 for URLs": lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
    "base64 without padding": lambda text: base64.b64encode(text.encode()).decode().rstrip("="),
    "URL": lambda text: quote(text, safe=""),
    "URL path": quote,
    "URL query": quote_plus,
    "JSON": json.dumps,
    "JSON in UTF-8": lambda text: json.dumps(text, ensure_ascii=False),
    "JSON of Go": lambda text: re.sub("[<>&]", lambda m: f"\\u{ord(m[0]):04x}", json.dumps(text, ensure_ascii=False)),
    "shell": shlex.quote,
    "shell with backslashes": lambda text: "'" + text.replace("'", "'\\''") + "'",
}


def knowing(*values: str) -> Redactor:
    redactor = Redactor()
    for value in values:
        redactor.add(Secret(value, "op://lab/item/field"))
    return redactor


def windows(text: str) -> set[str]:
    return {text[at : at + WINDOW] for at in range(len(text) - WINDOW + 1)}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("value", [CANARY, PEM.splitlines()[1], "tr9fzsh6l5bm"], ids=["marks", "key", "short"])
def test_each_form_is_masked(form: str, value: str) -> None:
    clean = knowing(value).redact(f"before {FORMS[form](value)} after")
    assert MASK in clean
    assert not windows(FORMS[form](value).strip("'\"=")) & windows(clean)
    assert clean.startswith("before ")
    assert clean.endswith(" after")


# Characters that every program can print; lone surrogates have no bytes.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@settings(deadline=None)
@given(secret=st.text(st.characters(exclude_categories=["Cs"]), min_size=12, max_size=60), before=TEXTS, after=TEXTS)
@pytest.mark.parametrize("form", FORMS)
def test_no_form_survives_between_anything(form: str, secret: str, before: str, after: str) -> None:
    clean = knowing(secret).redact(FORMS[form](f"{before}{secret}{after}"))
    left = windows(clean.replace(MASK, "\0"))
    # Blanks at its ends are no part of a secret: a store adds them.
    value = secret.strip()
    if form.startswith("base64"):
        start = len((before + secret[: secret.index(value)]).encode())
        whole = FORMS[form](f"{before}{secret}{after}")
        # Characters of 6 bits each, without those that hold bits of a neighbour.
        shown = whole[-(-start * 8 // 6) : (start + len(value.encode())) * 8 // 6]
    else:
        shown = FORMS[form](value).strip("\"'")
    assert not windows(shown) & left


@pytest.mark.parametrize("cut", [(0, 12), (-12, None), (3, 17)], ids=["first 12", "last 12", "middle"])
@pytest.mark.parametrize("more", ["", "x", "xy"])
@pytest.mark.parametrize("form", FORMS)
def test_a_piece_of_a_form_is_masked(form: str, more: str, cut: tuple[int, int | None]) -> None:
    value = CANARY * 2 + more
    piece = FORMS[form](value).strip("'\"=")[slice(*cut)]
    assert knowing(value).redact(f"log>{piece}<") == f"log>{MASK}<"


def test_a_key_is_masked_line_by_line_and_certificates_stay_readable() -> None:
    redactor = knowing(PEM)
    shown = "\n".join(f"    {line}" for line in PEM.splitlines())
    clean = redactor.redact(shown)
    assert PEM.splitlines()[1][:WINDOW] not in clean
    assert PEM.splitlines()[2][-WINDOW:] not in clean
    certificate = "-----BEGIN CERTIFICATE-----\nMIIBhTCCASugAwIBAgIQIRi6zePL6mKjOipn\n-----END CERTIFICATE-----"
    assert redactor.redact(certificate) == certificate


def test_a_secret_in_base64_is_known_by_what_it_encodes() -> None:
    redactor = knowing(base64.b64encode(PEM.encode()).decode())
    assert redactor.redact(f"key: {PEM.splitlines()[1]}") == f"key: {MASK}"


def test_base64_that_is_wrapped_is_masked_line_by_line() -> None:
    value = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_0123456789"
    wrapped = base64.encodebytes(f"token: {value}".encode()).decode()
    clean = knowing(value).redact(wrapped)
    assert not windows(wrapped.splitlines()[0][12:]) & windows(clean)
    assert clean.count(MASK) == 2


def test_secrets_that_overlap_leave_nothing() -> None:
    redactor = knowing("aaaa-bbbb-cccc-dddd", "cccc-dddd-eeee-ffff")
    assert redactor.redact("x aaaa-bbbb-cccc-dddd-eeee-ffff y") == f"x {MASK} y"


@pytest.mark.parametrize(
    ("value", "clean"),
    [("hunter22", f"pass {MASK} word"), ("short", "pass short word"), ("", "pass  word")],
)
def test_short_values(value: str, clean: str) -> None:
    assert knowing(value).redact(f"pass {value} word") == clean


def test_what_holds_no_secret_is_left_alone() -> None:
    text = "waiting for etcd on apps-01 to be healthy: 40.0 s of 5 min 0 s"
    assert knowing(CANARY, PEM).redact(text) == text
    assert Redactor().redact(text) == text
