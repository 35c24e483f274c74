"""A processor that serves one interrupt for ever hangs; one that is busy does not."""

from __future__ import annotations

import pytest

from rehearsal.processors import LOOKS, Hangs

# What QEMU 10.0.2 printed of the second processor of a machine that hung, and of the first, which went on.
HUNG = "ESR\t 0x00000000\nISR\t 236 \nIRR\t 33 34 236 \n\nAPR 0x01 TPR 0x10 DFR 0x0f LDR 0x00 PPR 0xe0\n"
FREE = "ESR\t 0x00000000\nISR\t (none)\nIRR\t (none)\n\nAPR 0x00 TPR 0x10 DFR 0x0f LDR 0x00 PPR 0x10\n"
BUSY = HUNG.replace("ISR\t 236", "ISR\t 33")


@pytest.mark.parametrize(
    ("looks", "hanging"),
    [
        pytest.param([HUNG] * LOOKS, 1, id="the same interrupt for all looks"),
        pytest.param([HUNG] * (LOOKS - 1), None, id="one look less"),
        pytest.param([FREE] * LOOKS * 2, None, id="none in service"),
        pytest.param([HUNG, BUSY] * LOOKS, None, id="another one each time"),
        pytest.param([*[HUNG] * (LOOKS - 1), FREE, *[HUNG] * (LOOKS - 1)], None, id="served in between"),
        pytest.param([FREE, BUSY, *[HUNG] * LOOKS], 1, id="hangs after a while"),
    ],
)
def test_only_a_processor_that_never_ends_an_interrupt_hangs(looks: list[str], hanging: int | None) -> None:
    hangs = Hangs(2)
    seen = [hangs.look((FREE, look).__getitem__) for look in looks]
    assert seen[-1] == hanging
    assert seen[:-1] == [None] * (len(looks) - 1)


def test_what_was_seen_before_a_stop_does_not_count() -> None:
    hangs = Hangs(1)
    for _ in range(LOOKS - 1):
        hangs.look(lambda _: HUNG)
    hangs.forget()
    assert hangs.look(lambda _: HUNG) is None
