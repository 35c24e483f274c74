"""What a template made up: keys and certificates of one render are not those of the next.

Flux renders again when it takes a release over, so whatever differs then rolls pods.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Final

from bootstrap.host.objects import Object, mapping, name_of, objects, text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bootstrap.host.errors import Problem
    from checks.installed import Installed

_ARMOUR: Final = "-----BEGIN "
_WEBHOOKS: Final = frozenset({"MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"})


def check(every: Sequence[Installed]) -> Iterator[Problem]:
    """Releases whose charts print keys, certificates or authorities."""
    for one in every:
        for item in one.objects:
            found = sorted(_made_up(item))
            if found:
                what = f"{item.get('kind')} {name_of(item)}"
                words = f"{what} is rendered with certificates ({', '.join(found)}), others in each render"
                yield one.problem(f"{words}; let a job or cert-manager make them")


def _made_up(item: Object) -> Iterator[str]:
    if item.get("kind") == "Secret":
        yield from (key for key, value in mapping(item, "data").items() if _ARMOUR in _decoded(str(value)))
        yield from (key for key, value in mapping(item, "stringData").items() if _ARMOUR in str(value))
    if item.get("kind") in _WEBHOOKS:
        for webhook in objects(item, "webhooks"):
            if text(webhook, "clientConfig", "caBundle"):
                yield f"caBundle of {text(webhook, 'name')}"


def _decoded(value: str) -> str:
    try:
        return base64.b64decode(value, validate=True).decode("utf-8", "replace")
    except binascii.Error:
        return ""
