"""Which faces of a video's sampled frames are one person, and where that person is in each."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from workbench.media.face_detectors import Face

_FAR = 2.0
"""A face moves no further between sampled frames, in mean sides of both boxes: they may be seconds
apart."""

_TWICE = 2.0
"""Nor does its side grow or shrink by more than this factor."""

_NEVER = 1e6


@dataclass
class Track:
    """The faces of one person, by the index of the frame they were seen in, ascending."""

    seen: dict[int, Face] = field(default_factory=dict)

    @property
    def first(self) -> int:
        """Index of the first frame."""
        return next(iter(self.seen))

    @property
    def last(self) -> int:
        """Index of the last frame."""
        return next(reversed(self.seen))

    @property
    def area(self) -> float:
        """Sum of the boxes' areas."""
        return math.fsum(face.area for face in self.seen.values())


def follow(detections: Sequence[Sequence[Face]]) -> list[Face]:
    """Return where the main person's face is in each frame; nothing where no frame has a face.

    The main person is the track with the largest summed area. Where another track lies wholly
    before or after it (a cut to another scene), that one is followed there; a person seen while the
    track lasts is passed over throughout. Between two sightings of a track, box and landmarks are
    interpolated linearly; in the other frames they are those of the nearest sighting, the earlier
    of two. Faces put in that way have confidence 0.
    """
    chosen = _chosen(linked(detections))
    if not chosen:
        return []
    return [_at(index, chosen) for index in range(len(detections))]


def linked(detections: Sequence[Sequence[Face]]) -> list[Track]:
    """Return the tracks of all faces, in the order of their first frames.

    In each frame the faces are assigned to the tracks' latest faces so that the sum of
    `_distance` is least; what is too far from every track begins another one.
    """
    tracks: list[Track] = []
    for index, faces in enumerate(detections):
        pairs = _assigned(tracks, faces)
        for number, face in enumerate(faces):
            if number not in pairs:
                tracks.append(Track())
            tracks[pairs.get(number, -1)].seen[index] = face
    return tracks


def _assigned(tracks: Sequence[Track], faces: Sequence[Face]) -> dict[int, int]:
    """Return the track of each face that continues one, both by their position."""
    if not tracks or not faces:
        return {}
    costs = np.array([[_distance(t.seen[t.last], face) for face in faces] for t in tracks])
    from scipy.optimize import linear_sum_assignment  # slow to import, rarely needed

    rows, columns = linear_sum_assignment(costs)
    return {
        int(column): int(row)
        for row, column in zip(rows, columns, strict=True)
        if costs[row, column] < _NEVER
    }


def _distance(one: Face, other: Face) -> float:
    """Return how unlike two boxes are: 0 for the same, _NEVER for too unlike.

    The distance of their centres in mean sides, plus the logarithm of the factor in size. Unlike
    the overlap it tells near from far where boxes do not touch, as in frames seconds apart.
    """
    (x, y), (to_x, to_y) = one.centre, other.centre
    moved = math.hypot(to_x - x, to_y - y) / ((one.side + other.side) / 2)
    grown = abs(math.log(other.side / one.side))
    if moved > _FAR or grown > math.log(_TWICE):
        return _NEVER
    return moved + grown


def _chosen(tracks: Sequence[Track]) -> list[Track]:
    """Return tracks that are not seen at the same time, the largest first, in order of time."""

    def rank(track: Track) -> tuple[float, int, float, float]:
        face = track.seen[track.first]
        return (-track.area, track.first, face.x, face.y)

    chosen: list[Track] = []
    for track in sorted(tracks, key=rank):
        if all(track.last < other.first or other.last < track.first for other in chosen):
            chosen.append(track)
    return sorted(chosen, key=lambda track: track.first)


def _at(index: int, tracks: Sequence[Track]) -> Face:
    """Return the followed face in frame `index`."""
    for track in tracks:
        if index in track.seen:
            return track.seen[index]
        if track.first < index < track.last:
            before = max(seen for seen in track.seen if seen < index)
            after = min(seen for seen in track.seen if seen > index)
            part = (index - before) / (after - before)
            return _between(track.seen[before], track.seen[after], part)
    sightings = {seen: face for track in tracks for seen, face in track.seen.items()}
    nearest = min(sightings, key=lambda seen: (abs(seen - index), seen))
    return _between(sightings[nearest], sightings[nearest], 0)


def _between(one: Face, other: Face, part: float) -> Face:
    """Return the face `part` of the way from one to the other, with confidence 0."""

    def mix(a: float, b: float) -> float:
        return a + part * (b - a)

    return Face(
        x=mix(one.x, other.x),
        y=mix(one.y, other.y),
        width=mix(one.width, other.width),
        height=mix(one.height, other.height),
        confidence=0.0,
        landmarks=tuple(
            (mix(x, to_x), mix(y, to_y))
            for (x, y), (to_x, to_y) in zip(one.landmarks, other.landmarks, strict=True)
        ),
    )
