"""What it costs to have a record of the journal on disk, beside writing the same bytes there without it.

Run: `.venv/bin/python -m bench.journal [FOLDER]`; the folder, by default the current one, decides about the disk.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from bench.table import beside, show
from bootstrap.engine import Action, Context
from bootstrap.engine.journal import FILE, Journal

# More than a run with six machines has actions, and few enough for a slow disk.
RECORDS: Final = 500


def nothing(_ctx: Context) -> None:
    """Stands for an effect."""


ACTION: Final = Action(
    description="apply the machine configuration to metal-01 at 10.25.11.101",
    reason="it is in maintenance mode",
    run=nothing,
    recognised_by="the machine answers with a certificate of this cluster",
)


def main() -> None:
    """Measure and print."""
    place = sys.argv[1] if len(sys.argv) > 1 else "."
    records: list[float] = []
    writes: list[float] = []
    with tempfile.TemporaryDirectory(dir=place, prefix="bench-") as folder:
        path = Path(folder) / FILE
        bare_path = Path(folder) / "bare"
        with (
            Journal.open(path, cluster="bench", tool="bench", redact=str) as journal,
            bare_path.open("wb", buffering=0) as bare,
        ):
            journal.action_begins("talos/install", 1, ACTION)
            line = path.read_bytes().splitlines(keepends=True)[-1]
            for index in range(RECORDS):
                began = time.perf_counter()
                journal.action_begins("talos/install", index, ACTION)
                recorded = time.perf_counter()
                os.write(bare.fileno(), line)
                os.fdatasync(bare.fileno())
                writes.append(time.perf_counter() - recorded)
                records.append(recorded - began)
    show(beside(f"{RECORDS} records of {len(line)} bytes, on disk", records, writes, "write and fdatasync alone"))


if __name__ == "__main__":
    main()
