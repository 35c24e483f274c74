"""From a kubeconfig in memory to an HTTP client that presents its identity."""

from __future__ import annotations

import contextlib
import os
from base64 import b64decode
from binascii import Error as Base64Error
from ssl import SSLError
from typing import TYPE_CHECKING, Final, cast

from bootstrap.host import yaml_io
from bootstrap.host.errors import InputError, Problem
from bootstrap.host.files import memory_file
from bootstrap.host.objects import Object, mapping, objects

if TYPE_CHECKING:
    from httpx2 import Client
    from lightkube.config.kubeconfig import SingleConfig

    from bootstrap.host.secret import Secret

# Nodes are on the local network: whoever needs longer to accept is not there.
CONNECT_SECONDS: Final = 4.0
# An API server under load (etcd leader change, first discovery) answers within this or not at all.
READ_SECONDS: Final = 15.0
_DATA_FIELDS: Final = ("certificate-authority", "client-certificate", "client-key")


def open_client(kubeconfig: Secret, *, server: str = "", connect_seconds: float = CONNECT_SECONDS) -> Client:
    """An HTTP client for the kubeconfig's current context; nothing is sent yet.

    Keys and certificates reach the TLS library as memory files, because the client library would write them
    to temporary files; proxies and other settings of the environment are not looked at.

    Args:
        kubeconfig: the whole kubeconfig.
        server: speak to this URL in place of the kubeconfig's, for example a node's own address.
        connect_seconds: limit for the TCP and TLS handshake.

    Raises:
        InputError: not a kubeconfig, or one that would start a program.
    """
    from httpx2 import Timeout  # 0.2 s that `--list` must not pay
    from lightkube.config.client_adapter import Client as open_http  # noqa: N813 # a function by nature
    from lightkube.config.client_adapter import ConnectionParams
    from lightkube.config.kubeconfig import KubeConfig

    document = _checked(kubeconfig)
    with contextlib.ExitStack() as stack:
        for entry in (*objects(document, "clusters"), *objects(document, "users")):
            _use_memory_files(mapping(entry, "cluster") or mapping(entry, "user"), stack)
        for entry in objects(document, "clusters") if server else ():
            mapping(entry, "cluster")["server"] = server
        timeout = Timeout(READ_SECONDS, connect=connect_seconds)
        try:
            config = KubeConfig.from_dict(document).get()
            # Without a user there is nothing to say who we are; the library would stop at an assertion.
            return open_http(cast("SingleConfig", config), ConnectionParams(timeout=timeout, trust_env=False))
        except Exception as error:  # noqa: BLE001 # the library has no common base; the text may hold key material
            reason = error.reason if isinstance(error, SSLError) else ""
            seen = " ".join(filter(None, (type(error).__name__, reason)))
            raise _refused(kubeconfig, f"the current context cannot be used ({seen})") from None


def _checked(kubeconfig: Secret) -> Object:
    document = yaml_io.load(kubeconfig.reveal(), source=kubeconfig.reference)
    if not isinstance(document, dict) or not document.get("current-context"):
        raise _refused(kubeconfig, "it has no current context")
    for user in objects(document, "users"):
        if "exec" in mapping(user, "user") or "auth-provider" in mapping(user, "user"):
            raise _refused(kubeconfig, "its user asks for a program; a client certificate or token is needed")
    return document


def _use_memory_files(entry: Object, stack: contextlib.ExitStack) -> None:
    for field in _DATA_FIELDS:
        data = entry.pop(f"{field}-data", None)
        if not isinstance(data, str):
            continue
        with contextlib.suppress(Base64Error):  # left out, the library refuses the context
            descriptor = memory_file(field, b64decode(data))
            stack.callback(os.close, descriptor)
            entry[field] = f"/dev/fd/{descriptor}"


def _refused(kubeconfig: Secret, why: str) -> InputError:
    return InputError("the kubeconfig cannot be used", (Problem(why, kubeconfig.reference),))
