"""Views of changed copies: what a view makes of a file that was degraded or forged.

Pictures and sounds are changed between the decoder and the view, so that one pass over a file
serves all of its copies, and a view has the same frames of each as of the file itself. Only where
the whole video counts (H.264), another file is written and read.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from pydantic import PrivateAttr

from workbench.degradation.cutouts import has_detector
from workbench.degradation.degradations import AND, CHANGES
from workbench.degradation.sounds import sound_of
from workbench.errors import MediaError
from workbench.media.declared import Modality
from workbench.media.decoders import read_any
from workbench.media.face_detectors import AnyDetector, YuFace
from workbench.media.faces import MAX_FACES, FaceView
from workbench.media.facts import Facts
from workbench.media.image import read_picture
from workbench.media.reading import Reading, read_media
from workbench.media.sound_view import SoundView
from workbench.media.source import failure
from workbench.media.temporary import temporary_folder
from workbench.media.timing import Timeline
from workbench.media.video import Frame, read_exactly
from workbench.media.video_view import VideoView
from workbench.media.view import FileView, Made, MadeOrNot, Sound, View, read_views
from workbench.opencv import cv2


class _Changes(NamedTuple):
    """What is done to the pictures of a file."""

    names: tuple[str, ...]
    """In their order."""

    content: str
    """What names the file."""

    detector: Any
    """What finds the faces that a change asks for, or None."""

    other: Path | None = None
    """The other file that goes into the copy."""


def read_copies(
    path: Path,
    wanted: Mapping[str, tuple[str, View]],
    *,
    content: str = "",
    loudness: bool = False,
    others: Mapping[str, Path] = MappingProxyType({}),
) -> Reading:
    """Do as `decoders.read_any`, for views of a file and of its changed copies.

    Args:
        path: The file.
        wanted: By any name, a copy (see `degradations.content_of`) and the view.
        content: What names the file; what is drawn for all of a video hangs on it.
        loudness: See there.
        others: By copy, the other file that goes into it.
    """
    here: dict[str, View] = {}
    apart: defaultdict[_Changes, dict[str, View]] = defaultdict(dict)
    heard: dict[Any, Sound] = {}
    for name, (copy, view) in wanted.items():
        names = tuple(copy.split(AND)) if copy else ()
        changes = _Changes(names, content, _detector(view, names), others.get(copy))
        if isinstance(view, SoundView) and names:
            here[name] = _ChangedSound(
                inner=view,
                copied=copy,
                heard=heard,
                other=others.get(copy),
                content=content,
                version=view.version,
                align=view.align,
            )
        elif names and CHANGES[names[-1]].of_video:
            apart[changes][name] = view
        else:
            here[name] = _seen(view, changes)
    reading = Reading({}, Facts())
    if here or loudness:
        reading = read_media(path, here, loudness=loudness, guarded=read_any)
    made = dict(reading.made)
    for changes, views in apart.items():
        made |= read_any(path, views, read=partial(_read_recoded, changes))
    return Reading(made, reading.facts)


def _read_recoded(
    changes: _Changes, path: Path, views: Mapping[str, View], onlooker: Any
) -> MadeOrNot:
    *before, last = changes.names
    write = CHANGES[last].of_video
    assert write
    # Which frames are shown when is told the view: each is written once.
    timed = tuple(name for name in before if CHANGES[name].of_times or CHANGES[name].of_stretch)
    others = tuple(name for name in before if name not in timed)
    with temporary_folder() as folder:
        recoded, other = folder / "recoded.mp4", changes.other

        def seen(view: VideoView) -> VideoView:
            return _of_frames(view, changes._replace(names=others))

        try:
            write(path, recoded, CHANGES[last].drawn(changes.content), seen)
            if other is not None and any(CHANGES[name].of_stretch for name in timed):
                source, other = other, folder / "other.mp4"
                write(source, other, CHANGES[last].drawn(changes.content), seen)
        except MediaError as error:
            return dict.fromkeys(views, error)
        of_times = changes._replace(names=timed, other=other)
        shown = {name: _seen(view, of_times) for name, view in views.items()}
        return read_views(recoded, shown, onlooker)


def _seen(view: View, changes: _Changes) -> View:
    """Return the view of pictures that were changed."""
    if isinstance(view, VideoView):
        return _of_frames(view, changes)
    if not changes.names:
        return view
    assert isinstance(view, FileView)
    return _ChangedFile(inner=view, changes=changes)


def _of_frames(view: VideoView, changes: _Changes) -> VideoView:
    if not changes.names:
        return view
    return _ChangedFrames(inner=view, changes=changes, version=view.version, sampling=view.sampling)


class _ChangedSound(SoundView):
    """A view of the sound after one change or several."""

    modality: ClassVar[Modality] = "vector"  # the inner view's counts
    kind: Literal["changed-sound"] = "changed-sound"
    inner: SoundView
    copied: str
    heard: Any
    other: Path | None
    content: str

    @property
    def shape(self) -> tuple[int, ...]:
        return self.inner.shape

    def of_sound(self, sound: Sound) -> Made:
        key: tuple[Any, ...] = (self.align, self.version == 1)
        for name in self.copied.split(AND):
            key = (*key, name)
            if key not in self.heard:
                change = CHANGES[name]
                other = sound_of(self.other) if change.of_two and self.other else None
                self.heard[key] = change.heard(sound, other, self.content)
            sound = self.heard[key]
        return self.inner.of_sound(sound)


class _ChangedFrames(VideoView):
    """A view of frames after one change or several."""

    modality: ClassVar[Modality] = "picture"
    kind: Literal["changed-frames"] = "changed-frames"
    inner: VideoView
    changes: _Changes
    _is_as_before: bool = PrivateAttr(False)
    _places: Sequence[float] = PrivateAttr(())
    """Where in the video each frame lies, as a share of the whole."""

    @property
    def shape(self) -> tuple[int, ...]:
        return self.inner.shape

    def indices(self, timeline: Timeline) -> Sequence[int]:
        wanted = self.inner.indices(timeline)
        self._places = [(number + 0.5) / timeline.count for number in wanted]
        for name in self.changes.names:
            if of_times := CHANGES[name].of_times:
                shown = of_times(timeline.count, CHANGES[name].drawn(self.changes.content))
                before, wanted = wanted, [int(shown[number]) for number in wanted]
                self._is_as_before = [*before] == wanted
        return wanted

    def keep(self, frame: Frame) -> Any:
        # Of one frame for several views, so that they share what they find in it.
        if self.changes not in frame.memory:
            frame.memory[self.changes] = _changed(frame, self.changes)
        return self.inner.keep(frame.memory[self.changes])

    def of_frames(self, kept: Sequence[Any]) -> Made:
        if self._is_as_before:
            raise failure("no_video", "the frames that are looked at stay as they were")
        for name in self.changes.names:
            if of_stretch := CHANGES[name].of_stretch:
                start, end = of_stretch(CHANGES[name].drawn(self.changes.content))
                kept = self._with_stretch(kept, start, end)
        return self.inner.of_frames(kept)

    def _with_stretch(self, kept: Sequence[Any], start: float, end: float) -> Sequence[Any]:
        """Return what is kept with that of the other file's frames between two shares of it.

        At least one frame is of the other file, and one is not.
        """
        middle = min(self._places, key=lambda place: abs(place - (start + end) / 2))
        inside = [start <= place < end or place == middle for place in self._places]
        if all(inside):
            raise failure("no_video", "no frame that is looked at stays as it was")
        assert self.changes.other is not None
        rest = tuple(name for name in self.changes.names if not CHANGES[name].of_stretch)
        view = _of_frames(self.inner, self.changes._replace(names=rest))
        reader = read_exactly(self.changes.other, {"other": view})
        others = reader.kept("other")
        if others is None:  # the file said wrongly how many frames it has
            again = read_exactly(self.changes.other, {"other": view}, expected=reader.timeline)
            others = again.kept("other")
        assert others is not None
        return [
            others[number * len(others) // len(kept)] if is_inside else kept[number]
            for number, is_inside in enumerate(inside)
        ]


class _ChangedFile(FileView):
    """A view of a still image after one change or several."""

    modality: ClassVar[Modality] = "picture"
    kind: Literal["changed-file"] = "changed-file"
    inner: FileView
    changes: _Changes

    @property
    def shape(self) -> tuple[int, ...]:
        return self.inner.shape

    def of_file(self, path: Path) -> Made:
        picture = _changed(Frame(read_picture(path).picture), self.changes).picture
        with temporary_folder() as folder:
            file = folder / "picture.png"
            bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
            _, data = cv2.imencode(".png", bgr, [cv2.IMWRITE_PNG_COMPRESSION, 1])
            file.write_bytes(data.tobytes())
            return self.inner.of_file(file)


def _detector(view: View, names: Sequence[str]) -> AnyDetector | None:
    """Return what finds the faces of which a change must know, if anything does."""
    if not any(CHANGES[name].of_faces for name in names):
        return None
    if isinstance(view, FaceView):
        return view.detector
    return YuFace() if has_detector() else None


def _changed(frame: Frame, changes: _Changes) -> Frame:
    """Return a frame after some changes. Faces of which one knew stay where they were found."""
    picture, memory, detector = frame.picture, {}, changes.detector
    if detector is not None:
        if detector not in frame.memory:
            frame.memory[detector] = detector.detect(frame.picture)
        memory[detector] = frame.memory[detector]
    for name in changes.names:
        change = CHANGES[name]
        if change.of_picture:
            picture = change.of_picture(picture, change.random(picture))
        elif change.of_faces:
            faces = memory.get(detector, [])[:MAX_FACES]
            picture = change.of_faces(picture, faces, change.drawn(changes.content))
    return Frame(np.ascontiguousarray(picture), memory)
