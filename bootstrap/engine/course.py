"""One step's way through its states in one run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bootstrap.engine.events import Bus, StepMoved
from bootstrap.engine.machine import FINAL_STATES, State, check_move
from bootstrap.engine.seams import NoRecorder
from bootstrap.engine.verdict import ActionRecord, Failure, StepResult, WaitRecord

if TYPE_CHECKING:
    from bootstrap.engine.graph import Node
    from bootstrap.engine.proof import Proof
    from bootstrap.engine.seams import Recorder
    from bootstrap.host.clock import Clock


class Course:
    """Where a step is and what it did; touched by one thread at a time.

    Args:
        node: the step in its place.
        bus: hears of each move.
        clock: monotonic time.
        run_began: the clock's seconds when the run began.
        recorder: the memory between runs.
    """

    def __init__(
        self, node: Node, *, bus: Bus, clock: Clock, run_began: float, recorder: Recorder | None = None
    ) -> None:
        self.node = node
        self.state = State.PENDING
        self.reason = ""
        self.failure: Failure | None = None
        self.proofs: tuple[Proof, ...] = ()
        # Seconds in which the step's thread had something outstanding elsewhere; the driver knows.
        self.outside = 0.0
        self._actions: list[ActionRecord] = []
        self._waits: list[WaitRecord] = []
        self._bus = bus
        self._clock = clock
        self._run_began = run_began
        self._recorder = recorder or NoRecorder()
        self._began: float | None = None
        self._ended: float | None = None

    @property
    def ended(self) -> bool:
        """Whether the step is in a final state."""
        return self.state in FINAL_STATES

    @property
    def seconds(self) -> float:
        """Since the step left pending; 0 before that."""
        if self._began is None:
            return 0.0
        return (self._clock.monotonic() if self._ended is None else self._ended) - self._began

    def move(self, after: State, reason: str = "") -> None:
        """Go to another state.

        Raises:
            IllegalMoveError: the table of legal moves does not hold it; nothing has changed then.
        """
        check_move(self.state, after, reason)
        before, self.state, self.reason = self.state, after, reason
        if after is State.PROBING:
            self._began = self._clock.monotonic()
        if self.ended:
            self._ended = self._clock.monotonic()
        self._recorder.step_moved(self.node.path, after, reason, self.seconds)
        self._bus.emit(StepMoved(self.node.path, before, after, reason, self.seconds))

    def record(self, done: ActionRecord | WaitRecord) -> None:
        """Keep what an action or a wait did."""
        if isinstance(done, ActionRecord):
            self._actions.append(done)
        else:
            self._waits.append(done)
            self._recorder.wait_ended(self.node.path, done.description, done.seconds, held=done.held)

    def since_run_began(self, seconds: float) -> float:
        """The clock's seconds as seconds since the run began."""
        return seconds - self._run_began

    def result(self) -> StepResult:
        """What became of the step, as it stands."""
        return StepResult(
            path=self.node.path,
            title=self.node.step.title,
            state=self.state,
            reason=self.reason,
            began=None if self._began is None else self.since_run_began(self._began),
            seconds=self.seconds,
            actions=tuple(self._actions),
            waits=tuple(self._waits),
            proofs=self.proofs,
            failure=self.failure,
            ours=max(0.0, self.seconds - self.outside),
        )
