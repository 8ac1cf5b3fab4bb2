"""A time limit on what a decoder does in this process; it comes back between its calls."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

LIMIT_S = 60
"""What hangs fails; a busy machine does not."""


@contextmanager
def limited(what: str) -> Iterator[None]:
    """Raise AssertionError in the body when it takes over `LIMIT_S`."""

    def late(number: int, frame: FrameType | None) -> None:
        raise AssertionError(f"{what} takes over {LIMIT_S} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(LIMIT_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
