"""The lab's internet without its machines, for as long as one command takes: charts for a plan.

The command is started anew as the first process of private namespaces and serves itself; when it ends, the kernel
ends whatever is left in them. It shares nothing with a lab that runs.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bootstrap.host.commands import Command, ShCommandRunner
from bootstrap.host.errors import InputError
from bootstrap.host.packages import Need, SystemPackages, this_system
from bootstrap.host.programs import Use, names_for
from bootstrap.host.secret import Redactor
from bootstrap.host.toolbox import Toolbox
from bootstrap.host.toolchain import build_environment, find_go
from rehearsal import namespaces
from rehearsal.certificates import ensure_authority
from rehearsal.emulator import EMULATION, this_host
from rehearsal.image import ImageBuilder
from rehearsal.internet import Internet
from rehearsal.lab import FOLDER
from rehearsal.network import Network, write_resolver
from rehearsal.overlay import lab_documents, rehearsal_documents, write
from rehearsal.preparation import Workshop, endpoint
from rehearsal.settings import MODULES_FILE, OVERLAY_FILE, SETTINGS_FILE, Emulator, LabSettings, from_json
from rehearsal.wiring import read_wiring

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from inventory.model import Cluster

# The value of `namespaces.INSIDE` here; in a lab it is a process id.
MARK: Final = "internet"
# What a shell reports of a process that SIGTERM ended.
TERMINATED: Final = 128 + signal.SIGTERM


def is_inside() -> bool:
    """Whether this process may serve itself the lab's internet."""
    return os.environ.get(namespaces.INSIDE) == MARK


def enter(
    root: Path, cache: Path, cluster: Cluster, runner: ShCommandRunner, report: Callable[[str], None],
    *, command: Sequence[str], charts: Path | None = None,
) -> None:  # fmt: skip
    """Replace this process by a command that may serve itself the lab's internet; does not return.

    Args:
        root: the repository.
        cache: the tool's cache folder; programs come from there.
        cluster: whose internet it is.
        runner: runs programs.
        report: told what is being done.
        command: argv.
        charts: folder of charts in place of the lab's own; None for none.

    Raises:
        InputError: something is missing or forbidden, all of it at once.
    """
    host = SystemPackages(this_system(os.environ), runner, report, os.environ).ensure({Need.NETWORK, Need.GIT})
    problems = namespaces.check(host["unshare"], host["ip"], runner, machines=False)
    if problems:
        raise InputError("the lab's internet cannot run here", tuple(problems))
    environment, search_path = build_environment(os.environ), os.environ.get("PATH", "")
    # The command's own are had here as well: inside there is no network to build them with.
    pinned = Toolbox(root, cache, runner, report, search_path).ensure((*names_for(Use.OPERATOR), "registry"))
    go = find_go(runner, environment, search_path, cache)
    programs = {**host, **pinned, **({"go": go.program} if go else {})}
    workshop = Workshop(root, runner, programs, report, environment, this_host(os.environ), charts=charts)
    folder = Path(tempfile.mkdtemp(prefix="firstlight-"))
    try:
        prepare(folder, cluster, workshop)
        namespaces.begin(host["unshare"], command, {**os.environ, namespaces.INSIDE: MARK, FOLDER: str(folder)})
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def prepare(folder: Path, cluster: Cluster, workshop: Workshop) -> LabSettings:
    """Leave in a folder what the internet is made of.

    Args:
        folder: an empty one; all that the internet makes is below it.
        cluster: whose internet it is.
        workshop: what to prepare with.

    Raises:
        InputError: a chart cannot be used, or a Go module that it takes files from is not to be had.
    """
    authority = ensure_authority(folder / "ca")
    needs = workshop.choose_charts()
    host, _, path = cluster.git.url.removeprefix("https://").partition("/")
    nothing = folder / "nothing"
    settings = LabSettings(
        cluster=cluster.name, root=workshop.root, folder=folder, network=str(cluster.networks.nodes),
        gateway=str(cluster.networks.gateway), endpoint=endpoint(cluster),
        time_names=cluster.networks.time_servers, chart_hosts=needs.hosts, git_host=host,
        git_path=path.removesuffix(".git"), git_ref=cluster.git.ref, vault=cluster.name, kernel=nothing,
        initramfs=nothing, registry_base=folder / "images", images_key="", authority_certificate=authority.certificate,
        authority_key=authority.key, emulator=Emulator(nothing, "0", EMULATION),
        # It packs layers of images, of which there are none.
        programs={"zstd": nothing, **workshop.programs}, machines=(), inputs="", charts=workshop.charts,
    )  # fmt: skip
    builder = ImageBuilder(folder, workshop)
    folders = {module: str(builder.module_folder(module)) for module in needs.modules}
    # There are no images, so the registry begins as complete as it will be.
    settings.registry_base.mkdir()
    (folder / SETTINGS_FILE).write_text(settings.to_json())
    (folder / MODULES_FILE).write_text(json.dumps(folders))
    over = rehearsal_documents(workshop.root, cluster, read_wiring(workshop.root, cluster)) if cluster.rehearsal else []
    write(folder / OVERLAY_FILE, [*over, *lab_documents(authority.certificate.read_text(), emulated=True)])
    return settings


@contextmanager
def internet(report: Callable[[str], None]) -> Iterator[Path]:
    """The lab's internet, as long as it is open; gives the patch over the machine configuration.

    Only where `is_inside`, once, by the main thread.

    Args:
        report: told what is being done.

    Raises:
        FirstlightError: a server does not start or refuses its content.
    """
    folder = Path(os.environ[FOLDER])
    settings = from_json((folder / SETTINGS_FILE).read_text())
    # The first process of its namespace gets only the signals that it asks for.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    runner = ShCommandRunner(Redactor())
    served = Internet(settings, runner)
    try:
        resolver = write_resolver(settings)
        arguments = ("--bind", str(resolver), "/etc/resolv.conf")
        runner.run(Command(settings.programs["mount"], arguments, timeout=10))  # instant
        Network(settings, runner).make()
        served.give_names()
        served.open(report)
        # Children inherit it; whoever asks the internet trusts the lab's CA only.
        os.environ["SSL_CERT_FILE"] = str(settings.trust)
        os.environ.pop("SSL_CERT_DIR", None)
        yield folder / OVERLAY_FILE
    finally:
        served.close()
        shutil.rmtree(folder, ignore_errors=True)
