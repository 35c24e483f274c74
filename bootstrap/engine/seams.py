"""What the engine needs of others, as protocols: a memory between runs, a lease, evidence of a failure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bootstrap.engine.machine import State
    from bootstrap.engine.step import Action, Context
    from bootstrap.engine.verdict import Verdict


class Recorder(Protocol):
    """The memory between runs; when it cannot write, nothing more is done.

    `run_begins`, `action_begins` and `identify` raise `FirstlightError` when their line, or one before it, could
    not be brought to disk. The others never raise.
    """

    def run_begins(self, run_id: str, command: str, steps: Mapping[str, str]) -> None:
        """A run begins; `steps` gives the digest of its inputs for each step's path."""

    def action_begins(self, path: str, index: int, action: Action) -> None:
        """On disk before the action's effect; `index` counts from 1 within the step."""

    def action_ended(self, path: str, index: int, seconds: float, error: str) -> None:
        """On disk after the effect; `error` is empty when the action returned."""

    def step_moved(self, path: str, state: State, reason: str, seconds: float) -> None:
        """A step reached another state; seconds since it left pending."""

    def wait_ended(self, path: str, description: str, seconds: float, *, held: bool) -> None:
        """A wait ended."""

    def phase_ended(self, name: str, state: State, seconds: float) -> None:
        """Every step of a phase is in a final state."""

    def identify(self, kind: str, value: str) -> None:
        """Learn, or compare, whose machine or cluster this is; see `Context.identify`."""

    def run_ended(self, verdict: Verdict) -> None:
        """A run ended in its verdict."""

    def was_done(self, path: str) -> bool:
        """Whether a step was done when a run last looked at it; a hint for speed."""

    def usual_seconds(self, path: str, description: str) -> float | None:
        """The median of what this wait took in earlier runs where it held; None when it never did."""


class Lease(Protocol):
    """The cluster to ourselves, told to other operators by the cluster itself."""

    def hold(self, ctx: Context) -> None:
        """Before a write to Kubernetes: have the lease, with time left for it by our own clock.

        Raises:
            LockedError: another operator has it, or ours may have lapsed.
        """

    def release(self) -> None:
        """Give it back when the run ends; never raises."""


class Evidence(Protocol):
    """Gathers what a person would ask for after a failure."""

    def gather(self, folder: Path, verdict: Verdict) -> None:
        """Write it, redacted, below `folder`; what cannot be had is named there. Never raises."""


class NoRecorder:
    """Remembers nothing; for runs without a state of their own."""

    def run_begins(self, run_id: str, command: str, steps: Mapping[str, str]) -> None:
        """Nothing."""

    def action_begins(self, path: str, index: int, action: Action) -> None:
        """Nothing."""

    def action_ended(self, path: str, index: int, seconds: float, error: str) -> None:
        """Nothing."""

    def step_moved(self, path: str, state: State, reason: str, seconds: float) -> None:
        """Nothing."""

    def wait_ended(self, path: str, description: str, seconds: float, *, held: bool) -> None:
        """Nothing."""

    def phase_ended(self, name: str, state: State, seconds: float) -> None:
        """Nothing."""

    def identify(self, kind: str, value: str) -> None:
        """Nothing."""

    def run_ended(self, verdict: Verdict) -> None:
        """Nothing."""

    def was_done(self, path: str) -> bool:  # noqa: ARG002 # the protocol's name
        """Nothing is known."""
        return False

    def usual_seconds(self, path: str, description: str) -> float | None:  # noqa: ARG002 # the protocol's names
        """Nothing is known."""
        return None


class NoLease:
    """For a run that shares its cluster with nobody."""

    def hold(self, ctx: Context) -> None:
        """Nothing."""

    def release(self) -> None:
        """Nothing."""
