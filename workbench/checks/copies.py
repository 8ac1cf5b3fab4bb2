"""Near copies: files that show and sound the same, whatever the encoder did to them.

The thresholds stand in the middle of a measured gap. Over 960 clips of talking heads, made ones
and real speech with real photographs, several of a head, and 480 re-encoded copies (H.264 at CRF
23 to 35 and half to one and a half times the size, MPEG-4; AAC at 64 to 128 kbit/s, MP3), and
JPEG copies of frames (quality 50 to 90, half to one and a half times the size):

- pictures, the worst of four frames: copies 0.977 and more, other clips 0.933 and less (of 77
  clips with real photographs: mirrored copies 0.995, other clips with one of the two mirrored
  0.923, a clip with its own mirror image 0.787);
- sounds: copies 0.977 and more, other clips 0.911 and less;
- one frame alone: JPEG copies 0.996 and more at their own size, 0.985 at half of it and quality 50;
  other clips reach 0.989 where a head comes back to the same pose;
- detected faces, the best of four, where whole frames are not at hand: copies of the same size
  0.919 and more, other clips 0.976 and less, so that the sound has to decide.
"""

from collections.abc import Mapping
from itertools import combinations, product

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.ndimage

from workbench.checks.hashes import Hashes, Pairs, distance, hashes, mirrored_hashes, near_pairs
from workbench.checks.thumbnails import SOUND_PX, Medium, Small, Thumbnails

ALIKE: Mapping[Medium, float] = {"picture": 0.955, "face": 0.9, "sound": 0.945}
"""Correlations from which on two files are taken for copies."""

ALONE_ALIKE: Mapping[Medium, float] = {"picture": 0.985, "face": 0.985, "sound": 0.96}
"""The same where nothing else can be compared: one still image, a sound alone, or only faces."""

# A hash of a copy differs in 0 to 10 of its 64 bits, of which 5 are found for sure; one of several
# is enough. Of the files found so, all hashes together may differ by more.
_SEARCH_BITS, _MEAN_BITS = 12, 16
# Up to so many files, all pairs are looked at: a mean over few files says little.
_FEW = 200
# Copies whose ends were not yet aligned correlate by 0.67 and more.
_ROUGHLY_ALIKE = 0.4
# Below these standard deviations, in grey levels, a picture is one colour and a sound is even.
_FLAT_PICTURE, _FLAT_SOUND = 1.0, 2.0
# Lengths of copies differ by what an encoder adds at the ends, in seconds and as a share.
_LENGTH_S, _LENGTH_SHARE = 0.3, 0.02
_CHUNK = 2048

# Pictures first: they take less time, and a pair that differs in them is done with.
_ORDER: tuple[Medium, ...] = ("picture", "face", "sound")

Float32Array = npt.NDArray[np.float32]
_Signs = npt.NDArray[np.uint64]


def near_copy_pairs(views: Mapping[str, Thumbnails], duration_s: npt.NDArray[np.float64]) -> Pairs:
    """Return the pairs of files that are copies of each other, as far as can be seen and heard.

    A fake sound often lies under a real picture, and talking heads sit in front of one background:
    so a pair must agree in every view that both files have, and last equally long. A mirrored copy,
    all of whose pictures are, is one.

    Args:
        views: The small pictures of the same files in each view.
        duration_s: How long each file lasts, NaN where that is not known; (files,).

    Returns:
        (pairs, 2) indices of files, the smaller first.
    """
    found = [_copies(views, duration_s, mirrored=False)]
    if any(view.medium != "sound" for view in views.values()):
        found.append(_copies(views, duration_s, mirrored=True))
    return np.unique(np.concatenate(found), axis=0)


def _copies(
    views: Mapping[str, Thumbnails], duration_s: npt.NDArray[np.float64], *, mirrored: bool
) -> Pairs:
    """Return the pairs of files that are alike, or alike but for a mirror."""
    signs = {name: _hashes(view, mirrored=mirrored) for name, view in views.items()}
    pairs = _candidates(views, signs, len(duration_s))
    pairs = pairs[_last_equally_long(duration_s, pairs)]
    kept = [pairs[:0]]
    for start in range(0, len(pairs), _CHUNK):
        some = pairs[start : start + _CHUNK]
        kept.append(some[_are_copies(views, some, mirrored=mirrored)])
    return np.concatenate(kept)


def _hashes(view: Thumbnails, *, mirrored: bool) -> tuple[_Signs, _Signs]:
    """Return (files, hashes): of each picture, and for a sound of its whole and both halves.

    And those of what it is compared with: with `mirrored`, of the mirror images of pictures.
    """
    there = view.pictures[view.is_there]
    parts = [there[:, slot] for slot in range(there.shape[1])]
    if view.medium == "sound":
        half = SOUND_PX[1] // 2
        parts = [part for p in parts for part in (p, p[..., :half], p[..., half:])]
    own = np.zeros((len(view.pictures), len(parts)), np.uint64)
    if not len(there):
        return own, own
    if view.medium == "sound" or not mirrored:
        own[view.is_there] = np.stack([hashes(part) for part in parts], axis=1)
        return own, own
    other = own.copy()
    plain, turned = zip(*map(mirrored_hashes, parts), strict=True)
    own[view.is_there], other[view.is_there] = np.stack(plain, axis=1), np.stack(turned, axis=1)
    return own, other


def _candidates(
    views: Mapping[str, Thumbnails], signs: Mapping[str, tuple[_Signs, _Signs]], num_files: int
) -> Pairs:
    if num_files <= _FEW:
        return np.array(list(combinations(range(num_files), 2)), np.int64).reshape(-1, 2)
    found = [np.empty((0, 2), np.int64)]
    for name, view in views.items():
        own, other = signs[name]
        for slot in range(own.shape[1]):
            # A black picture is like every other black one, and says nothing.
            picture = view.pictures[:, slot * view.pictures.shape[1] // own.shape[1]]
            told = np.flatnonzero(view.is_there & (picture.std(axis=(1, 2)) > _FLAT_PICTURE))
            found.append(told[_near(own[told, slot], other[told, slot])])
    pairs = np.unique(np.concatenate(found), axis=0)
    fits = np.ones(len(pairs), np.bool_)
    for name, view in views.items():
        first, second = pairs.T
        apart = distance(signs[name][0][first], signs[name][1][second])
        apart = apart.min(axis=1) if view.medium == "face" else apart.mean(axis=1)
        fits &= ~(view.is_there[first] & view.is_there[second]) | (apart <= _MEAN_BITS)
    return pairs[fits]


def _near(own: Hashes, other: Hashes) -> Pairs:
    """Return the pairs of which one's own hash is near the `other` one of the second."""
    if own is other or np.array_equal(own, other):
        return near_pairs(own, most=_SEARCH_BITS)
    first, second = near_pairs(np.concatenate([own, other]), most=_SEARCH_BITS).T
    is_across = (first < len(own)) & (second >= len(own)) & (second - len(own) != first)
    return np.sort(np.stack([first, second - len(own)], axis=1)[is_across], axis=1)


def _last_equally_long(duration_s: npt.NDArray[np.float64], pairs: Pairs) -> npt.NDArray[np.bool_]:
    one, other = duration_s[pairs[:, 0]], duration_s[pairs[:, 1]]
    limit = np.maximum(_LENGTH_S, _LENGTH_SHARE * np.maximum(one, other))
    return np.asarray(~(np.abs(one - other) > limit))  # NaN is no difference


def _are_copies(
    views: Mapping[str, Thumbnails], pairs: Pairs, *, mirrored: bool
) -> npt.NDArray[np.bool_]:
    agree = np.ones(len(pairs), np.bool_)
    num_told = np.zeros(len(pairs), np.int64)
    # Whether a pair is alike enough should nothing else be told of it.
    is_sure = np.ones(len(pairs), np.bool_)
    for view in sorted(views.values(), key=lambda view: _ORDER.index(view.medium)):
        both = np.flatnonzero(view.is_there[pairs[:, 0]] & view.is_there[pairs[:, 1]] & agree)
        if not len(both):
            continue
        if view.medium == "sound":
            alike, told = sound_likeness(view.pictures, pairs[both])
        else:
            compare = picture_likeness if view.medium == "picture" else face_likeness
            alike, told = compare(view.pictures, pairs[both], mirrored=mirrored)
        agree[both] &= alike >= ALIKE[view.medium]
        is_sure[both] &= (told == 0) | (alike >= ALONE_ALIKE[view.medium])
        num_told[both] += told
    return np.asarray(agree & ((num_told > 1) | (num_told == 1) & is_sure))


def picture_likeness(
    pictures: Small, pairs: Pairs, *, mirrored: bool = False
) -> tuple[Float32Array, npt.NDArray[np.int64]]:
    """Return the worst correlation of the fine structure of pictures, and how many had any.

    Args:
        pictures: (files, slots, height, width) grey.
        pairs: (pairs, 2) which files to compare.
        mirrored: Compare with the mirror image of the second.

    Returns:
        (pairs,) twice.
    """
    # In a crowd of lookalikes one file is in many pairs.
    files, places = np.unique(pairs, return_inverse=True)
    fine, told = _fine(pictures[files])
    seen = _fine(pictures[files][..., ::-1])[0] if mirrored else fine
    one, other = places.reshape(-1, 2).T
    correlation = np.einsum("psx,psx->ps", fine[one], seen[other])
    # Two pictures of one colour are alike, and are no evidence.
    correlation[~told[one] & ~told[other]] = 1
    return correlation.min(axis=1), (told[one] & told[other]).sum(axis=1)


def face_likeness(
    faces: Small, pairs: Pairs, *, mirrored: bool = False
) -> tuple[Float32Array, npt.NDArray[np.int64]]:
    """Return the best correlation of detected faces, and 1 where any was told.

    Args:
        faces: (files, slots, height, width) grey.
        pairs: (pairs, 2) which files to compare.
        mirrored: Compare with the mirror image of the second.

    Returns:
        (pairs,) twice.
    """
    files, places = np.unique(pairs, return_inverse=True)
    values = faces[files].astype(np.float32)
    whole, told = _unit(values, _FLAT_PICTURE)
    seen = _unit(values[..., ::-1], _FLAT_PICTURE)[0] if mirrored else whole
    one, other = places.reshape(-1, 2).T
    correlation = np.einsum("psx,psx->ps", whole[one], seen[other])
    both = told[one] & told[other]
    return correlation.max(axis=1), both.max(axis=1).astype(np.int64)


def sound_likeness(sounds: Small, pairs: Pairs) -> tuple[Float32Array, npt.NDArray[np.int64]]:
    """Return the worst correlation of spectrograms, and how many had any structure.

    An encoder adds some milliseconds at either end, which shifts and stretches the picture: the
    best of 49 ways to undo that counts. The mean of each band is left out: it is the voice's.

    Args:
        sounds: (files, slots, bands, moments) grey.
        pairs: (pairs, 2) which files to compare.

    Returns:
        (pairs,) twice.
    """
    one, other = sounds[pairs[:, 0]], sounds[pairs[:, 1]]
    (standing, told), (moved, told_other) = _structure(one), _structure(other)
    best = (standing * moved).sum(axis=2)
    best[~told & ~told_other] = 1
    rough = best.min(axis=1) >= _ROUGHLY_ALIKE
    for stretch in _stretches(SOUND_PX[1]) if rough.any() else ():
        moved, _ = _structure(other[rough] @ stretch)
        best[rough] = np.maximum(best[rough], (standing[rough] * moved).sum(axis=2))
    return best.min(axis=1), (told & told_other).sum(axis=1)


def _fine(pictures: Small) -> tuple[Float32Array, npt.NDArray[np.bool_]]:
    """Return (pairs, slots, pixels) of length one, and which are not of one colour."""
    values = pictures.astype(np.float32)
    values -= scipy.ndimage.gaussian_filter(values, (0, 0, 2, 2))
    return _unit(values, _FLAT_PICTURE)


def _structure(sounds: npt.NDArray[np.generic]) -> tuple[Float32Array, npt.NDArray[np.bool_]]:
    """Return (pairs, slots, pixels) of length one, and which sounds change with time."""
    values = np.asarray(sounds, np.float32)
    return _unit(values - values.mean(axis=3, keepdims=True), _FLAT_SOUND)


def _unit(values: Float32Array, flat: float) -> tuple[Float32Array, npt.NDArray[np.bool_]]:
    values = values.reshape(*values.shape[:2], -1)
    values = values - values.mean(axis=2, keepdims=True)
    length = np.linalg.norm(values, axis=2, keepdims=True)
    is_told = length[..., 0] > flat * np.sqrt(values.shape[2])
    return values / np.maximum(length, 1e-6), is_told


def _stretches(width: int) -> list[Float32Array]:
    """Return (width, width) matrices that move either end of a row by up to two columns."""
    columns = np.arange(width)
    found = []
    for left, right in product(np.linspace(-2, 2, 7), repeat=2):
        place = np.clip(columns + left + (right - left) * columns / (width - 1), 0, width - 1)
        before = np.minimum(place.astype(np.int64), width - 2)
        matrix = np.zeros((width, width), np.float32)
        matrix[before, columns] = 1 - (place - before)
        matrix[before + 1, columns] += place - before
        found.append(matrix)
    return found


def durations(contents: pd.DataFrame, facts: pd.DataFrame) -> npt.NDArray[np.float64]:
    """Return how long the file of each content lasts, NaN where that is not known."""
    if "duration_s" not in facts:
        return np.full(len(contents), np.nan)
    said = facts["duration_s"].reindex(contents["content"])
    return pd.to_numeric(said, errors="coerce").to_numpy(np.float64)
