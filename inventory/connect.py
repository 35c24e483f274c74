"""1Password Connect over HTTP: the few calls of its API that reading and storing a field takes.

The API is https://developer.1password.com/docs/connect/api-reference: vaults and items are found by a filter
on their name and title, then the item is read by its id; an item is created whole, a field is added to one by a patch.
"""

from __future__ import annotations

import http.client
import json
import re
import ssl
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode, urlsplit

from bootstrap.engine.retry import retry_after_seconds
from inventory.secrets import Unresolvable

if TYPE_CHECKING:
    from pathlib import Path

    from bootstrap.host.secret import Secret
    from inventory.model import SecretReference

# Connect answers from its local copy within milliseconds; this also covers a first synchronisation.
ANSWER_SECONDS: Final = 10.0
# An item with attachments listed is some KiB; more than this is not an answer of Connect.
LARGEST_ANSWER: Final = 4 * 1024 * 1024
# 1Password's ids: 26 lower-case letters and digits; a reference may hold them in place of names.
_ID: Final = re.compile(r"^[a-z0-9]{26}$")
_TOKEN: Final = re.compile(rb"^[\x21-\x7e]+$")


class ConnectProvider:
    """`op://vault/item/field` (or `op://vault/item/section/field`) by 1Password Connect.

    Args:
        host: URL of Connect, http or https, without a path.
        token: bearer token.
        ca_file: trusted instead of the system's CAs; without it SSL_CERT_FILE is honoured.
    """

    def __init__(self, host: str, token: Secret, *, ca_file: Path | None = None) -> None:
        self._url = urlsplit(host)
        self._token = token
        self._ca_file = ca_file
        self._items: dict[tuple[str, str], dict[str, Any]] = {}

    @property
    def note(self) -> str:
        """A warning when the token travels in clear, else empty."""
        if self._url.scheme == "https":
            return ""
        return f"1Password Connect is asked without TLS ({self._url.geturl()}): its token travels in clear"

    def read(self, reference: SecretReference) -> bytes:
        """The field's value; see `Provider.read`."""
        vault, item, *path = reference.location.split("/")
        if (vault, item) not in self._items:
            self._items[vault, item] = self._item(vault, item)
        return _field(self._items[vault, item], path).encode()

    def holds(self, reference: SecretReference) -> bool:
        """Whether the field has a value; see `Keeper.holds`."""
        vault, item, *path = reference.location.split("/")
        item_id = self._find(self._items_of(vault), "title", item)
        return bool(item_id) and any(field.get("value") for field in _fields(self._item(vault, item), path))

    def store(self, reference: SecretReference, secret: Secret) -> None:
        """Put a value where none is; see `Keeper.store`."""
        vault, item, *path = reference.location.split("/")
        self._items.pop((vault, item), None)
        if len(path) > 1:
            raise Unresolvable("a field inside a section is not stored; leave the section out of the reference")
        items = self._items_of(vault)
        field = {"label": path[0], "type": "CONCEALED", "value": secret.reveal().decode()}
        item_id = self._find(items, "title", item)
        if not item_id:
            vault_id = items.split("/")[3]
            new = {"vault": {"id": vault_id}, "title": item, "category": "SECURE_NOTE", "fields": [field]}
            self._ask("POST", items, new)
            return
        patch = {"op": "add", "path": "/fields", "value": field}
        for there in _fields(self._item(vault, item), path):
            if there.get("value"):
                raise Unresolvable("it holds a value, which is not replaced")
            patch = {"op": "replace", "path": f"/fields/{there['id']}/value", "value": field["value"]}
        self._ask("PATCH", f"{items}/{quote(item_id, safe='')}", [patch])

    def _item(self, vault: str, item: str) -> dict[str, Any]:
        items = self._items_of(vault)
        item_id = self._id_of(items, "title", item, f"there is no item `{item}` in the vault `{vault}`")
        found = self._ask("GET", f"{items}/{quote(item_id, safe='')}")
        if not isinstance(found, dict):
            raise Unresolvable("1Password Connect gave an answer of another form")
        return found

    def _items_of(self, vault: str) -> str:
        vault_id = self._id_of("/v1/vaults", "name", vault, f"there is no vault `{vault}`")
        return f"/v1/vaults/{quote(vault_id, safe='')}/items"

    def _id_of(self, path: str, attribute: str, name: str, none: str) -> str:
        if found := self._find(path, attribute, name):
            return found
        raise Unresolvable(none)

    def _find(self, path: str, attribute: str, name: str) -> str:
        """The id of what has this name, empty when nothing has; a name that has the form of an id is one."""
        escaped = name.replace("\\", "\\\\").replace('"', '\\"')
        query = urlencode({"filter": f'{attribute} eq "{escaped}"'}, quote_via=quote)
        found = self._ask("GET", f"{path}?{query}")
        listed = found if isinstance(found, list) else []
        matches = [each["id"] for each in listed if each.get(attribute) == name]
        if len(matches) > 1:
            raise Unresolvable(f"`{name}` is the {attribute} of {len(matches)} things; write the id instead")
        if matches:
            return str(matches[0])
        return name if _ID.match(name) else ""

    def _ask(self, method: str, path: str, content: object = None) -> Any:
        headers = {"Authorization": f"Bearer {self._bearer()}", "Accept": "application/json"}
        text = None
        if content is not None:
            headers["Content-Type"] = "application/json"
            text = json.dumps(content)
        connection = self._connection()
        try:
            connection.request(method, path, text, headers)
            answer = connection.getresponse()
            body = answer.read(LARGEST_ANSWER)
        except (OSError, http.client.HTTPException) as error:
            failure = ConnectFailure.UNREACHABLE
            if isinstance(error, ssl.SSLCertVerificationError):
                failure = ConnectFailure.UNTRUSTED
            said = f"1Password Connect at {self._url.netloc} does not answer: {_reason(error)}"
            raise Unresolvable(said, error_class=failure.error_class) from None
        finally:
            connection.close()
        if answer.status != http.HTTPStatus.OK:
            raise Unresolvable(
                f"1Password Connect answered {answer.status}: {_MEANING.get(answer.status, answer.reason)}",
                error_class=_failure(answer.status).error_class,
                retry_after=retry_after_seconds(answer.getheader("Retry-After", "")),
            )
        try:
            return json.loads(body)
        except ValueError:
            said = "1Password Connect answered with something that is not JSON"
            raise Unresolvable(said, error_class=ConnectFailure.UNREADABLE.error_class) from None

    def _bearer(self) -> str:
        token = self._token.reveal()
        # http.client names a value that cannot stand in a header in its error; that value is the token.
        if not _TOKEN.match(token):
            raise Unresolvable("OP_CONNECT_TOKEN holds characters that no token has")
        return token.decode("ascii")

    def _connection(self) -> http.client.HTTPConnection:
        host, port = self._url.hostname or "", self._url.port
        if self._url.scheme == "https":
            context = ssl.create_default_context(cafile=str(self._ca_file) if self._ca_file else None)
            return http.client.HTTPSConnection(host, port, timeout=ANSWER_SECONDS, context=context)
        return http.client.HTTPConnection(host, port, timeout=ANSWER_SECONDS)


class ConnectFailure(StrEnum):
    """What kept Connect from answering, as far as it decides what to do next."""

    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    REFUSED = "refused"
    THROTTLED = "throttled"
    UNAVAILABLE = "unavailable"
    UNREACHABLE = "unreachable"
    UNTRUSTED = "untrusted"
    UNREADABLE = "unreadable"

    @property
    def error_class(self) -> str:
        """Its row in the table of retries."""
        return f"connect/{self}"


_BY_STATUS: Final = {
    401: ConnectFailure.UNAUTHORIZED,
    403: ConnectFailure.FORBIDDEN,
    404: ConnectFailure.NOT_FOUND,
    429: ConnectFailure.THROTTLED,
}


def _failure(status: int) -> ConnectFailure:
    is_servers_fault = status >= http.HTTPStatus.INTERNAL_SERVER_ERROR
    return _BY_STATUS.get(status, ConnectFailure.UNAVAILABLE if is_servers_fault else ConnectFailure.REFUSED)


_MEANING: Final = {
    401: "the token in OP_CONNECT_TOKEN is not valid",
    403: "the token in OP_CONNECT_TOKEN may not do that in this vault",
    404: "no such vault or item",
}


def _field(item: dict[str, Any], path: list[str]) -> str:
    fields = _fields(item, path)
    if not fields:
        raise Unresolvable(f"the item has no field `{'/'.join(path)}`")
    return str(fields[0].get("value") or "")


def _fields(item: dict[str, Any], path: list[str]) -> list[dict[str, Any]]:
    name = path[-1]
    fields = [field for field in item.get("fields", []) if name in {field.get("label"), field.get("id")}]
    if len(path) > 1:
        labels = {section.get("id"): section.get("label") for section in item.get("sections", [])}
        fields = [
            field
            for field in fields
            if path[0] in {field.get("section", {}).get("id"), labels.get(field.get("section", {}).get("id"))}
        ]
    return fields


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {ANSWER_SECONDS:g} s"
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return type(error).__name__
