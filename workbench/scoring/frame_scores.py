"""The score of each frame of a video: which second of it looks fake.

A frame's score is that of a file which shows that frame alone, the other views as they are: so it
means the same whatever makes one of several frames, and packs and test-time augmentation need
nothing of their own. Where the mean is taken of one view's features and the head is linear, a
file's log-odds are the mean of its frames'.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from workbench.errors import MediaError
from workbench.fence import num_cores
from workbench.media.declared import PICTURED
from workbench.media.decoders import FILE_LIMIT_S, decoders, ended, read_any
from workbench.media.streams import opened
from workbench.media.video_scan import picture_stream, scan_packets
from workbench.media.view import Array, Made, MadeOrNot, View
from workbench.parts.model_spec import ModelSpec
from workbench.parts.pack_spec import PackSpec
from workbench.scoring.any_model import scores_of
from workbench.scoring.evaluator import DecodedViews

_BATCH_SIZE = 8
_AT_ONCE = 16
"""Files whose arrays are held."""

_MOST_DECODERS = 8


def frames_of(views: Mapping[str, View]) -> dict[str, int]:
    """Return the number of frames of each view that has several."""
    return {
        name: view.shape[0]
        for name, view in views.items()
        if view.modality in PICTURED and view.shape[0] > 1
    }


def score_frames(
    spec: ModelSpec | PackSpec,
    model: nn.Module,
    paths: Sequence[Path],
    *,
    device: torch.device,
    limit_s: float = FILE_LIMIT_S,
) -> Iterator[list[tuple[float, float]] | MediaError]:
    """Yield for each file the second and the score of each frame; or why its pictures have none.

    What else of a file cannot be read, as a sound that is not there, is neutral as in any score.

    Args:
        spec: See `scores_by_frame`.
        model: The model itself, on `device`.
        paths: The files.
        device: Where the model is.
        limit_s: Time that the decoding of one file may take.
    """
    for made, seconds in _decoded(paths, spec.views, limit_s):
        lacking = [made[view] for view in frames_of(spec.views)]
        if isinstance(lacking[0], MediaError) and not any(isinstance(m, Made) for m in lacking):
            yield lacking[0]
            continue
        arrays = {
            name: (one.array if isinstance(one, Made) else spec.views[name].neutral())[None]
            for name, one in made.items()
        }
        [found] = scores_by_frame(spec, model, arrays, device=device)
        yield list(zip(seconds, found.tolist(), strict=True))


def _decoded(
    paths: Sequence[Path], views: Mapping[str, View], limit_s: float
) -> Iterator[tuple[MadeOrNot, list[float]]]:
    """Yield for each file its views, or why there are none, and when its frames are on screen."""
    most = max(1, min(_MOST_DECODERS, num_cores(), len(paths)))
    with decoders(most, limit_s=limit_s) as fence:
        for start in range(0, len(paths), _AT_ONCE):
            some = paths[start : start + _AT_ONCE]
            waiting = [fence.submit(_read, path.absolute(), views) for path in some]
            for reading in waiting:
                found = ended(reading, limit_s)
                if isinstance(found, MediaError):
                    yield dict.fromkeys(views, found), []
                else:
                    yield found


def _read(path: Path, views: Mapping[str, View]) -> tuple[MadeOrNot, list[float]]:
    return read_any(path, views), seconds_of(path, max(frames_of(views).values()))


def scores_by_frame(
    spec: ModelSpec | PackSpec,
    model: nn.Module,
    arrays: Mapping[str, Array],
    *,
    device: torch.device,
) -> npt.NDArray[np.float64]:
    """Return the probability to be fake of each frame of each file, (files, frames).

    Args:
        spec: Of a model, or of a pack, with a view of several frames. Where views differ in their
            number, the most count, and each shows the frame of the same moment.
        model: The model itself, on `device`.
        arrays: Each view by its name, (files, *stored_shape).
        device: Where the model is.
    """
    several = frames_of(spec.views)
    most = max(several.values())

    def at(moment: int) -> npt.NDArray[np.float64]:
        places = {name: (2 * moment + 1) * num // (2 * most) for name, num in several.items()}
        shown = {
            name: array[:, :, places[name], None] if name in places else array
            for name, array in arrays.items()
        }

        def source_for(member: ModelSpec) -> DecodedViews:
            return DecodedViews(member, {n: shown[n] for n in member.views}, device=device)

        return scores_of(spec, model, source_for, batch_size=_BATCH_SIZE)

    return np.stack([at(moment) for moment in range(most)], axis=1)


def seconds_of(path: Path, num_frames: int) -> list[float]:
    """Return when each of `num_frames` frames at even times is on screen, in seconds.

    These are the middles of equal parts of the time that pictures are shown, as views of frames
    take them, counted from where the file begins, be it with its sound; 0 for all of a file that
    does not say when its pictures are shown, as a still image.
    """
    try:
        begin_s, length_s = _shown(path)
    except MediaError:
        begin_s = length_s = 0.0
    return [begin_s + (place + 0.5) * length_s / num_frames for place in range(num_frames)]


def _shown(path: Path) -> tuple[float, float]:
    """Return when the first picture of a file appears and how long all are shown, in seconds."""
    scan = scan_packets(path)
    with opened(path) as container:
        stream = picture_stream(container)
        tick_s, usual_s = float(stream.time_base or 0), float(1 / (stream.average_rate or 25))
        begin_s = (stream.start_time or 0) * tick_s - (container.start_time or 0) / 1_000_000
    length_s = scan.timeline.end * tick_s
    if isinstance(scan.timeline.starts, range):  # shown equally long, and counted by pictures
        times, num_steps = scan.first_times, len(scan.first_times) - 1
        if num_steps < 1:
            return 0.0, 0.0
        step_s = (times[-1] - times[0]) * tick_s / num_steps
        # Where packets do not say when, their numbers stand there.
        length_s = scan.timeline.count * (step_s if step_s >= 0.001 else usual_s)
    return max(begin_s, 0.0), length_s
