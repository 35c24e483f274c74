"""Puts a secret where a reference of the inventory points to and nothing lies yet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from bootstrap.host.errors import FirstlightError, InputError
from inventory.secrets import Unresolvable

if TYPE_CHECKING:
    from bootstrap.host.secret import Secret
    from inventory.model import SecretReference
    from inventory.secrets import Provider


@runtime_checkable
class Keeper(Protocol):
    """A provider that can also store."""

    def read(self, reference: SecretReference) -> bytes:
        """The value as the store holds it; see `Provider.read`."""

    def holds(self, reference: SecretReference) -> bool:
        """Whether there is a value already.

        Raises:
            Unresolvable: the store cannot be asked.
        """

    def store(self, reference: SecretReference, secret: Secret) -> None:
        """Put a value where none is.

        Raises:
            Unresolvable: there is one, or the store does not take it.
        """


class StoreError(FirstlightError):
    """A store did not take a secret, or gave another one back."""


def require_free(reference: SecretReference, provider: Provider) -> Keeper:
    """The store of a reference under which nothing lies yet.

    Raises:
        InputError: its provider cannot store, cannot be asked, or holds a value already.
    """
    if not isinstance(provider, Keeper):
        raise InputError(
            f"{reference}: {reference.scheme}:// references can be read and not stored",
            cause="this tool writes no secret to a disk",
            remedy="name an op:// reference, or run `talosctl gen secrets` where the file shall lie",
        )
    try:
        held = provider.holds(reference)
    except Unresolvable as error:
        raise InputError(f"{reference} cannot be looked at", cause=error.fact) from None
    if held:
        raise InputError(f"{reference} holds a value, which is never replaced")
    return provider


def store(reference: SecretReference, secret: Secret, keeper: Keeper) -> None:
    """Store a secret and read it back.

    Raises:
        StoreError: the store did not take it, or gives something else back.
    """
    try:
        keeper.store(reference, secret)
        back = keeper.read(reference)
    except Unresolvable as error:
        raise StoreError(f"{reference} was not stored", cause=error.fact) from None
    # Stores may end a value with a line break; readers drop it.
    if back.rstrip(b"\r\n") != secret.reveal().rstrip(b"\r\n"):
        raise StoreError(f"{reference} gives back something else than was stored")
