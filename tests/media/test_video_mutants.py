"""A thousand damaged videos of many containers and codecs: each has an outcome, and none hangs."""

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from av.codec.codec import UnknownCodecError

from tests.media.limited import limited
from tests.media.malformed_makers import media, turned
from workbench.media.frame_diff import FrameDiff
from workbench.media.frames import Frames
from workbench.media.mel import Mel
from workbench.media.reading import read_media
from workbench.media.source import Status
from workbench.media.view import View

NUM_MUTANTS = 1_000

VIEWS: dict[str, View] = {
    "mel": Mel(num_mels=32, image_px=32),
    "frames": Frames(num_frames=3, image_px=16),
    "nearest": Frames(num_frames=3, image_px=16, sampling="nearest"),
    "diff": FrameDiff(num_frames=2, image_px=16),
    "first": Frames(num_frames=3, image_px=16, version=1),
}

_small = partial(media, num_frames=10, size=(48, 32), sound_s=0.3)
# x265 writes past its memory where a side is under 48 pixels.
_hevc = partial(
    _small, size=(64, 48), codec="libx265", encoder="x265-params=pools=1:log-level=none"
)
_mp3 = partial(_small, sound_codec="libmp3lame")
_PQ = "x264-params=mbtree=0:threads=1:transfer=smpte2084:colorprim=bt2020:colormatrix=bt2020nc"
_opus = partial(_small, sound_codec="libopus", rate_hz=48_000)

SOURCES: dict[str, Callable[[], bytes]] = {
    "h264.mp4": lambda: turned(_small(".mp4")),
    "in front.mp4": partial(_small, ".mp4", options="movflags=faststart"),
    "fragments.mp4": partial(_small, ".mp4", options="movflags=frag_keyframe+empty_moov"),
    "hdr.mp4": partial(_small, ".mp4", pix_fmt="yuv420p10le", encoder=_PQ),
    "uneven.mp4": partial(
        _small, ".mp4", times_ms=(0, 10, 30, 40, 300, 310, 900, 1000, 1010, 2000)
    ),
    "hevc.mp4": partial(_hevc, ".mp4"),
    "png.mov": partial(_small, ".mov", codec="png", pix_fmt="rgba", sound_codec="pcm_s16le"),
    "prores.mov": partial(_small, ".mov", codec="prores", pix_fmt="yuv422p10le"),
    "vp9.mkv": partial(_opus, ".mkv", codec="libvpx-vp9"),
    "h264.mkv": partial(_small, ".mkv"),
    "vp8.webm": partial(_opus, ".webm", codec="libvpx"),
    "alpha.webm": partial(_opus, ".webm", codec="libvpx-vp9", pix_fmt="yuva420p"),
    "mjpeg.avi": partial(_mp3, ".avi", codec="mjpeg", pix_fmt="yuvj420p"),
    "mpeg4.avi": partial(_mp3, ".avi", codec="mpeg4"),
    "mpeg2.mpg": partial(_small, ".mpg", codec="mpeg2video", sound_codec="mp2"),
    "mpeg1.mpg": partial(_small, ".mpg", codec="mpeg1video", sound_codec="mp2"),
    "flv1.flv": partial(_mp3, ".flv", codec="flv"),
    "h264.flv": partial(_small, ".flv"),
    "h264.ts": partial(_small, ".ts"),
    "wmv2.wmv": partial(_small, ".wmv", codec="wmv2", sound_codec="mp2"),
    "bare.h264": partial(_small, ".h264", sound_s=0),
    "bare.ivf": partial(_small, ".ivf", codec="libvpx", sound_s=0),
}
"""Whole videos; those whose encoder is not there are left out."""


def _flipped(data: bytearray, random: np.random.Generator) -> None:
    for bit in random.integers(0, 8 * len(data), random.integers(1, 40)):
        data[bit // 8] ^= 1 << bit % 8


def _head_changed(data: bytearray, random: np.random.Generator) -> None:
    for at in random.integers(0, min(len(data), 600), random.integers(1, 6)):
        data[at] = random.choice([0, 1, 0x7F, 0x80, 0xFF, int(random.integers(256))])


def _cut(data: bytearray, random: np.random.Generator) -> None:
    del data[random.integers(1, len(data)) :]


def _spliced(data: bytearray, random: np.random.Generator) -> None:
    start, length = random.integers(len(data)), random.integers(1, len(data) // 2)
    block = data[start : start + length]
    if random.random() < 0.5:
        del data[start : start + length]
    at = random.integers(len(data) + 1)
    data[at:at] = block


def _blanked(data: bytearray, random: np.random.Generator) -> None:
    start, length = random.integers(len(data)), random.integers(1, len(data) // 3)
    data[start : start + length] = bytes(len(data[start : start + length]))


DAMAGES = (_flipped, _head_changed, _cut, _spliced, _blanked)


def mutants() -> Iterator[tuple[str, bytes]]:
    """Yield the name and the bytes of each damaged video; the same ones in every run."""
    whole = {}
    for name, make in SOURCES.items():
        try:
            whole[name] = make()
        except UnknownCodecError:
            continue
    assert len({name.rpartition(".")[2] for name in whole}) >= 6  # containers
    random = np.random.default_rng(11)
    names = list(whole)
    for index in range(NUM_MUTANTS):
        name = names[index % len(names)]
        data = bytearray(whole[name])
        for damage in random.choice(len(DAMAGES), random.integers(1, 3), replace=False):
            DAMAGES[damage](data, random)
        yield name, bytes(data)


@pytest.mark.slow
def test_every_damaged_video_has_an_outcome(tmp_path: Path) -> None:
    ended: Counter[str] = Counter()
    unknown: dict[str, str] = {}
    for index, (name, data) in enumerate(mutants()):
        path = tmp_path / f"{index} {name}"
        path.write_bytes(data)
        try:
            with limited(path.name):
                made = read_media(path, VIEWS, loudness=True).made
        except Exception as error:  # noqa: BLE001 (what it is about is that there is none)
            unknown[path.name] = repr(error)
            continue
        finally:
            path.unlink()
        for view, how in made.items():
            ended[f"{view} {how.status}"] += 1
            if hasattr(how, "array"):
                assert how.array.shape == VIEWS[view].stored_shape
            else:
                assert how.status in get_args(Status)
    assert unknown == {}
    # Neither all are whole nor all are lost.
    for view in VIEWS:
        assert NUM_MUTANTS / 4 < ended[f"{view} ok"] < NUM_MUTANTS * 0.95
        assert ended[f"{view} broken"] > NUM_MUTANTS / 20
