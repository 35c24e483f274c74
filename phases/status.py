"""What is known of a cluster without asking it: neither lab nor network nor machines are needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bootstrap.engine.inputs import read_inputs
from bootstrap.engine.journal_contents import read
from bootstrap.engine.lock import read_owner
from bootstrap.host.streams import write_data
from bootstrap.views.status import Status, as_json, as_text, phases_of
from phases.session import journal_path, outline

if TYPE_CHECKING:
    from phases.session import Request


def show(request: Request) -> None:
    """Print it on standard output.

    Raises:
        InputError: the journal cannot be read, or is damaged or another cluster's.
    """
    status = look(request)
    write_data(as_json(status) if request.output == "json" else as_text(status))


def look(request: Request) -> Status:
    """Read journal, lock and files; none of them is touched.

    Raises:
        InputError: see `show`.
    """
    path, graph = journal_path(request), outline(request)
    # Asked before the journal is read: who begins meanwhile has written nothing that would be called cut off.
    owner = read_owner(path.parent)
    contents = read(path, cluster=request.cluster.name)
    return Status(
        cluster=f"REHEARSAL of {request.cluster.name}" if request.cluster.rehearsal else request.cluster.name,
        journal=str(path),
        contents=contents,
        phases=phases_of(graph, contents, running=owner is not None),
        owner=owner,
        changed=read_inputs(graph, request.root).changed(contents),
        command=request.command,
    )
