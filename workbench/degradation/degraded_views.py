"""Views of changed copies: what a view makes of a file that was degraded or forged.

Pictures and sounds are changed between the decoder and the view, so that one pass over a file
serves all of its copies, and a view has the same frames of each as of the file itself. Only where
the whole video counts (H.264), another file is written and read.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import cv2
import numpy as np

from workbench.degradation.degradations import AND, CHANGES, Degradation
from workbench.degradation.sounds import sound_of
from workbench.errors import MediaError
from workbench.media.declared import Modality
from workbench.media.decoders import read_any
from workbench.media.facts import Facts
from workbench.media.image import read_picture
from workbench.media.reading import Reading, read_media
from workbench.media.sound_view import SoundView
from workbench.media.timing import Timeline
from workbench.media.video import Frame
from workbench.media.video_view import VideoView
from workbench.media.view import FileView, Made, MadeOrNot, Sound, View, read_views


def read_copies(
    path: Path,
    wanted: Mapping[str, tuple[str, View]],
    *,
    loudness: bool = False,
    others: Mapping[str, Path] = MappingProxyType({}),
) -> Reading:
    """Do as `decoders.read_any`, for views of a file and of its changed copies.

    Args:
        path: The file.
        wanted: By any name, a copy (see `degradations.content_of`; of pictures one change at most)
            and the view.
        loudness: See there.
        others: By copy, the other file that goes into it.
    """
    here: dict[str, View] = {}
    apart: defaultdict[str, dict[str, View]] = defaultdict(dict)
    heard: dict[Any, Sound] = {}
    for name, (copy, view) in wanted.items():
        if not copy:
            here[name] = view
        elif copy in CHANGES and CHANGES[copy].of_video:
            apart[copy][name] = view
        else:
            here[name] = _degraded(view, copy, heard, others.get(copy))
    reading = Reading({}, Facts())
    if here:
        reading = read_media(path, here, loudness=loudness, guarded=read_any)
    made = dict(reading.made)
    for copy, views in apart.items():
        read = partial(_read_recoded, CHANGES[copy])
        made |= read_any(path, views, read=read)
    return Reading(made, reading.facts)


def _read_recoded(
    degradation: Degradation, path: Path, views: Mapping[str, View], onlooker: Any
) -> MadeOrNot:
    assert degradation.of_video
    with TemporaryDirectory() as folder:
        recoded = Path(folder) / "recoded.mp4"
        try:
            degradation.of_video(path, recoded)
        except MediaError as error:
            return dict.fromkeys(views, error)
        return read_views(recoded, views, onlooker)


def _degraded(view: View, copy: str, heard: dict[Any, Sound], other: Path | None) -> View:
    """Return the view of a copy; `heard` keeps its sound for other views of the same file."""
    if isinstance(view, SoundView):
        return _ChangedSound(
            inner=view,
            copied=copy,
            heard=heard,
            other=other,
            version=view.version,
            align=view.align,
        )
    if isinstance(view, VideoView):
        return _DegradedFrames(
            inner=view, degradation=copy, version=view.version, sampling=view.sampling
        )
    assert isinstance(view, FileView)
    return _DegradedFile(inner=view, degradation=copy)


class _ChangedSound(SoundView):
    """A view of the sound after one change or several."""

    modality: ClassVar[Modality] = "vector"  # the inner view's counts
    kind: Literal["changed-sound"] = "changed-sound"
    inner: SoundView
    copied: str
    heard: Any
    other: Path | None

    @property
    def shape(self) -> tuple[int, ...]:
        return self.inner.shape

    def of_sound(self, sound: Sound) -> Made:
        key: tuple[Any, ...] = (self.align, self.version == 1)
        for name in self.copied.split(AND):
            key = (*key, name)
            if key not in self.heard:
                change = CHANGES[name]
                other = sound_of(self.other) if change.of_two_sounds and self.other else None
                self.heard[key] = change.heard(sound, other)
            sound = self.heard[key]
        return self.inner.of_sound(sound)


class _DegradedFrames(VideoView):
    """A view of frames after a degradation."""

    modality: ClassVar[Modality] = "picture"
    kind: Literal["degraded-frames"] = "degraded-frames"
    inner: VideoView
    degradation: str

    @property
    def shape(self) -> tuple[int, ...]:
        return self.inner.shape

    def indices(self, timeline: Timeline) -> Sequence[int]:
        return self.inner.indices(timeline)

    def keep(self, frame: Frame) -> Any:
        # Of one frame for several views, so that they share what they find in it.
        key = ("degraded", self.degradation)
        if key not in frame.memory:
            frame.memory[key] = Frame(_changed(frame.picture, self.degradation))
        return self.inner.keep(frame.memory[key])

    def of_frames(self, kept: Sequence[Any]) -> Made:
        return self.inner.of_frames(kept)


class _DegradedFile(FileView):
    """A view of a still image after a degradation."""

    modality: ClassVar[Modality] = "picture"
    kind: Literal["degraded-file"] = "degraded-file"
    inner: FileView
    degradation: str

    @property
    def shape(self) -> tuple[int, ...]:
        return self.inner.shape

    def of_file(self, path: Path) -> Made:
        picture = _changed(read_picture(path).picture, self.degradation)
        with TemporaryDirectory() as folder:
            file = Path(folder) / "picture.png"
            bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
            _, data = cv2.imencode(".png", bgr, [cv2.IMWRITE_PNG_COMPRESSION, 1])
            file.write_bytes(data.tobytes())
            return self.inner.of_file(file)


def _changed(picture: Any, name: str) -> Any:
    degradation = CHANGES[name]
    assert degradation.of_picture
    return np.ascontiguousarray(degradation.of_picture(picture, degradation.random(picture)))
