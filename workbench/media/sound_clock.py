"""When the sound of a file is heard, and how long it is, by what the file says."""

import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Disposition

from workbench.media.source import MAX_DURATION_S
from workbench.media.view import Sound

WAV_HZ = 44_100
"""Rate of the sound that is placed."""

# Timestamps that jump by less are drift or rounding: FFmpeg's `aresample=async` draws it there too.
_GAP_S = 0.1


class SoundClock:
    """Keeps when a sound is heard: where it begins, and where its timestamps jump ahead."""

    def __init__(self) -> None:
        self.end_s = 0.0
        """When the last frame ends, by its timestamp."""
        self._start_s: float | None = None
        self._heard_s = 0.0
        self._gaps: list[tuple[float, float]] = []

    def take(self, frame: AudioFrame) -> None:
        """Take the time of the next frame."""
        duration_s = frame.samples / frame.sample_rate
        time_s = frame.time
        if time_s is None:
            time_s = self.end_s
        elif self._start_s is None:
            self._start_s = time_s
        elif time_s - self.end_s > _GAP_S:
            self._gaps.append((self._heard_s, time_s - self.end_s))
        self._heard_s += duration_s
        self.end_s = time_s + duration_s

    def placed(self, mono: Sound, *, start_s: float, longest_s: float) -> Sound:
        """Return 44.1 kHz samples with silence before a late start and in gaps.

        Args:
            mono: The samples of all frames.
            start_s: The time that is the result's 0; what is heard before is cut off.
            longest_s: A gap that is longer than this is an error of the timestamps.
        """
        late_s = 0.0 if self._start_s is None else self._start_s - start_s
        gaps = [gap for gap in ((0.0, max(0.0, late_s)), *self._gaps) if gap[1] <= longest_s]
        parts, done = [], max(0, round(-late_s * WAV_HZ)) if -late_s <= longest_s else 0
        for heard_s, gap_s in gaps:
            here = max(done, round(heard_s * WAV_HZ))
            parts += [mono[done:here], np.zeros(round(gap_s * WAV_HZ), np.float32)]
            done = here
            if sum(map(len, parts)) > MAX_DURATION_S * WAV_HZ:
                break
        return np.concatenate([*parts, mono[done:]])


def picture_start_s(container: InputContainer) -> float | None:
    """Return when the first frame of the picture is shown, in seconds; None: there is none."""
    pictures = [
        stream
        for stream in container.streams.video
        if not stream.disposition & Disposition.attached_pic
    ]
    if not pictures:
        return None
    starts = [
        float(stream.start_time * stream.time_base)
        for stream in pictures
        if stream.start_time is not None and stream.time_base
    ]
    return min(starts, default=(container.start_time or 0) / 1e6)


def announced_length(container: InputContainer) -> int:
    """Return the samples at 44.1 kHz of the container's duration as FFmpeg prints it; 0: unknown.

    moviepy reads that line, which has hundredths of a second, and rounds down to samples.
    """
    if not container.duration or container.duration < 0:
        return 0
    hundredths = min((container.duration + 5_000) // 10_000, MAX_DURATION_S * 100)
    # In moviepy's floating-point arithmetic, which falls below a whole number one time in 14.
    return int(WAV_HZ * (hundredths % 6_000 / 100 + 60 * (hundredths // 6_000)))


def end_s(container: InputContainer, stream: AudioStream) -> float | None:
    """Return when an MP4 says that its sound ends, in seconds; None: it does not say.

    A codec's last block is filled up with samples that are not part of the sound. FFmpeg cuts them
    off from version 9 on, unless the sound begins late or the file is in fragments (which announce
    no number of frames); its program, which the baseline runs, is the reference.
    """
    is_whole = container.format.name.startswith("mov") and stream.frames and stream.start_time == 0
    if not (is_whole and stream.duration and stream.time_base):
        return None
    return float(stream.duration * stream.time_base)
