"""When the frames of a video are shown, and which of them is on screen at even times."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate, pairwise

LONGEST_S = 600
"""No frame is on screen for longer: a longer step is a damaged timestamp."""

LONGEST_BROADCAST_S = 10
"""A longer step of a broadcast's clock, whichever way, is no time that passes: the clock was set
anew. FFmpeg's program has the same limit."""

_MS = Fraction(1, 1000)


@dataclass(frozen=True)
class Timeline:
    """When each frame of a video is shown, in steps of any length."""

    starts: Sequence[int]
    """When each frame appears, ascending from 0; at least one."""

    end: int
    """When the last one is gone."""

    @classmethod
    def even(cls, count: int) -> "Timeline":
        """Return that of `count` frames (at least 1) which are shown equally long."""
        return cls(range(count), count)

    @property
    def count(self) -> int:
        """The number of frames."""
        return len(self.starts)

    @property
    def without_last(self) -> "Timeline":
        """That of all frames but the last, of which there must be two."""
        return Timeline(self.starts[:-1], self.starts[-1])

    def at_even_times(self, num_times: int) -> list[int]:
        """Return the frame on screen at (i + 1/2) / num_times of the duration, for each i.

        Of frames that are shown equally long these are floor((i + 1/2) count / num_times): the
        middle of each of equal parts.
        """
        times = ((2 * i + 1) * self.end // (2 * num_times) for i in range(num_times))
        return [bisect_right(self.starts, time) - 1 for time in times]


def timeline(
    times: Sequence[int | None],
    *,
    last: int | None = None,
    tick_s: Fraction | None = None,
    is_broadcast: bool = False,
) -> Timeline:
    """Return when the frames are shown whose timestamps are `times`.

    A timestamp before the one of the frame before means that the clock began anew (two recordings
    in one file), and so does a step that is far too long: time then goes on by the usual step.
    Frames are taken as shown equally long where the timestamps say nothing (one is lacking, or more
    than one step in ten is none), and where they are even but for the rounding to milliseconds that
    many containers do.

    Args:
        times: Of at least one frame, in the order in which they are shown, in ticks.
        last: How long the last frame is shown, in ticks; unknown by default.
        tick_s: Of the timestamps; a millisecond by default.
        is_broadcast: Whether `LONGEST_BROADCAST_S` is too long already.
    """
    known = [time for time in times if time is not None]
    if len(known) < len(times) or len(times) < 2:
        return Timeline.even(len(times))
    tick_s = tick_s or _MS
    steps = [later - time for time, later in pairwise(known)]
    longest = int((LONGEST_BROADCAST_S if is_broadcast else LONGEST_S) / tick_s)
    passing = sorted(step for step in steps if 0 <= step <= longest)
    if 10 * (len(steps) - len(passing)) > len(steps):
        return Timeline.even(len(times))
    usual = passing[len(passing) // 2]
    steps = [step if 0 <= step <= longest else usual for step in steps]
    starts = [0, *accumulate(steps)]
    last = last if last and 0 < last <= longest else usual
    if _are_even(starts, last, tick_s):
        return Timeline.even(len(times))
    return Timeline(starts, starts[-1] + last)


def _are_even(starts: Sequence[int], last: int, tick_s: Fraction) -> bool:
    """Say whether frames are shown equally long, but for what rounding makes of it.

    Many writers give the last frame a length of next to nothing: of three frames and more, the
    steps between them say how long it is. Longer than two steps, it is held on purpose.
    """
    num_steps, length = len(starts) - 1, starts[-1]
    least = length if num_steps == 1 else 0
    if length and not least <= 2 * last * num_steps <= 4 * length:
        return False
    most = int(max(Fraction(1), _MS / tick_s) * num_steps)
    return all(abs(start * num_steps - i * length) <= most for i, start in enumerate(starts))
