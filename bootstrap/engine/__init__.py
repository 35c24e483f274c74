"""The engine: it takes phases and steps as data, runs them, and says what happened.

It knows neither Talos nor Kubernetes. What it runs is a list of phases; a phase is a list of steps; a step
is three functions that somebody else wrote:

- `probe(ctx)` reads the world and answers `Done` (evidence and the step's value), `ToDo` (the facts found),
  `Skip` or `Conflict` (refuse, with the remedy). A probe that finds the effect, but not yet the condition of
  the step's own gate, answers `ToDo`: the actions may then be empty and only the gate is waited for.
- `actions(ctx, facts)` is pure: a list of `Action` records, each with its description, its reason, what a
  kill in the middle leaves behind, and how its effect is recognised. So a plan is a run without the writes.
- `gate(ctx)` is the condition that must hold before dependants start; it completes "waiting for ...". When
  its last look gives no value, the step is probed again: what was done is then also what a probe calls done.

The modules, from the leaves up:

- `machine`: the states of a step and the one table of legal moves.
- `proof`, `step`, `phase`: the records above, and `Context`, the protocol that the three functions receive.
- `events`: everything that happens is one typed event; the `Bus` redacts it and hands it to the readers.
- `meter`: how much of the wall time is ours and how much we waited for others.
- `failures`, `retry_table`, `retry`: what a program's last words mean; which error is worth another attempt, and
  why; how attempts are made.
- `cancellation`, `interrupts`: why a run stops, and the signals that make it.
- `lock`: one run a cluster on one machine.
- `graph`, `selection`: phases as a graph by `needs`; which part of it the operator asked for.
- `ahead`: probes of steps that an earlier run finished, made before their turn.
- `pace`, `scene`, `waiting`, `context`: when a gate looks next; what the steps of a run share; the bounded wait;
  the context of one step.
- `course`, `driver`, `runner`: a step's way through its states; the whole graph in a bounded pool of threads.
- `journal_file`, `journal_contents`, `journal`: the memory between runs: its file, what it says, who writes it.
- `inputs`: the files that steps follow from, and what changed in them since.
- `verdict`, `budgets`, `run`: the result; what made it as long as it was; `execute`, which makes one.
- `plan`, `planner`: what a run would do, and `make_plan`, which finds it by the steps' own functions.
- `testing`: a fake clock and `run_phases`, for the tests of whoever writes steps.

Phases run in order. A step marked `early` needs no cluster: it starts as soon as what it names in `needs` is
done, and is joined where it is needed, at the latest at the end of its own phase. The first failure stops new
actions and ends waits; an action that runs is finished; independent steps of the phase that runs, and early
ones, are still probed, because all problems are to be reported at once; dependants are aborted with the
reason, and so is every phase that has not begun. Steps that were not selected are never acted on: those that
a selected step needs are probed for their value, the others are skipped.
"""

from bootstrap.engine.phase import Phase
from bootstrap.engine.proof import Proof, ProofKind
from bootstrap.engine.step import (
    Action,
    Changes,
    Conflict,
    Context,
    Done,
    Foreseen,
    Found,
    Gate,
    KillSafety,
    Observation,
    Skip,
    Step,
    StepRef,
    ToDo,
)

__all__ = [
    "Action",
    "Changes",
    "Conflict",
    "Context",
    "Done",
    "Foreseen",
    "Found",
    "Gate",
    "KillSafety",
    "Observation",
    "Phase",
    "Proof",
    "ProofKind",
    "Skip",
    "Step",
    "StepRef",
    "ToDo",
]
