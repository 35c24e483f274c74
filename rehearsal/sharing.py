"""How Linux shares the host's processors between the lab's machines and everything else."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

# Linux lets all users but root together ask ten times a second; five tries are half a second.
TRIES: Final = 5
PAUSE: Final = 0.1


def give_way(session: int, niceness: int) -> None:
    """Have all processes of a session give way to those of others, as far as the kernel lets us.

    Linux weighs sessions against each other before it weighs the processes of one (sched(7), "The autogroup
    feature"): what nice(1) says counts inside of a session only.

    Args:
        session: the id of its first process; nothing happens when that began none.
        niceness: 0 to 19; root alone may lower it again.
    """
    with suppress(ProcessLookupError):
        if os.getsid(session) != session:
            return
    for _ in range(TRIES):
        try:
            Path(f"/proc/{session}/autogroup").write_text(str(niceness))
        except BlockingIOError:
            time.sleep(PAUSE)
        except OSError:
            return  # a kernel that weighs processes alone, or a niceness that only root may give
        else:
            return
