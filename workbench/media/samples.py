"""Decoded samples of sound as arrays."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from av.audio.frame import AudioFrame

from workbench.media.view import Sound

Stereo = npt.NDArray[Any]
"""(2, samples) int16 or float32: left and right, in whole steps of 16 bits."""

DTYPES: dict[str, type[np.generic]] = {"flt": np.float32, "s16": np.int16, "s32": np.int32}
"""Formats of samples that are read here, by the name that FFmpeg gives them."""

# moviepy keeps its 16-bit samples within 0.99 of full scale: int(0.99 * 2**15).
_LOUDEST = 32_440


def joined(frames: Sequence[AudioFrame], end_s: float | None) -> npt.NDArray[Any]:
    """Return the samples of `frames`, (planes, values), cut where `end_s` lies inside the last."""
    last = frames[-1]
    # The usual formats are read here: `to_ndarray`, which knows them all, takes thrice as long.
    dtype = DTYPES.get(last.format.name.removesuffix("p"))
    num_values = 1 if last.format.is_planar else last.layout.nb_channels
    if dtype is None:
        joined = np.concatenate([frame.to_ndarray() for frame in frames], axis=1)
    else:
        joined = np.stack(
            [
                np.concatenate(
                    [
                        np.frombuffer(memoryview(f.planes[i]), dtype, f.samples * num_values)
                        for f in frames
                    ]
                )
                for i in range(len(last.planes))
            ]
        )
    if end_s is None or last.time is None:
        return joined
    kept = round((end_s - last.time) * last.sample_rate)
    if not 0 < kept < last.samples:
        return joined
    cut = last.samples - kept
    return joined[
        :, : joined.shape[1] - (cut if last.format.is_planar else cut * last.layout.nb_channels)
    ]


def mean(stereo: Stereo) -> Sound:
    """Return the mean of left and right, 1 being full scale."""
    left, right = np.clip(stereo, -_LOUDEST, _LOUDEST)
    mono = np.add(left, right, dtype=np.float32)
    mono /= 1 << 16
    return mono


def fit(sound: Sound, length: int) -> Sound:
    """Return `sound` cut to `length`, or followed by silence up to it."""
    if len(sound) >= length:
        return sound[:length]
    return np.pad(sound, (0, length - len(sound)))
