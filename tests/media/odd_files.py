"""Files at which a decoder or its binding raises what nobody foresaw."""

import os
import struct
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import numpy as np

from tests.media.malformed_makers import box, media, mp4, u32
from workbench.media.decoders import read_any
from workbench.media.view import MadeOrNot, View

PACK_END = b"\0\0\1\xb9"


@cache
def late_mpg() -> bytes:
    """Return 5 s of noise in which sound turns up behind all that FFmpeg looks at on opening."""
    random = np.random.default_rng(0)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "x.vob"
        with av.open(str(path), "w") as file:
            stream = file.add_stream("mpeg2video", rate=25)
            stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
            stream.bit_rate = 40_000_000
            stream.options = {"qmin": "1", "qmax": "2", "g": "1"}
            for _ in range(66):
                noise = random.integers(0, 256, (240, 320, 3), dtype=np.uint8)
                file.mux(stream.encode(av.VideoFrame.from_ndarray(noise, "rgb24")))
            file.mux(stream.encode(None))
        video = path.read_bytes().removesuffix(PACK_END)
    sound = media(".vob", num_frames=0, sound_s=0.5, sound_codec="mp2").removesuffix(PACK_END)
    return video + sound + video


def late_flv() -> bytes:
    """Return an .flv in which a stream of text turns up behind two thirds of it."""
    data = media(".flv", num_frames=300, sound_s=12.0)
    at = len(data[:13])
    while at < len(data) * 2 // 3:
        at += 11 + int.from_bytes(data[at + 1 : at + 4], "big") + 4
    text = b"\x02\0\x0aonTextData\x08\0\0\0\1\0\4text\x02\0\2hi\0\0\x09"
    head = b"\x12" + len(text).to_bytes(3, "big") + data[at + 4 : at + 8] + bytes(3)
    return data[:at] + head + text + u32(len(head) + len(text)) + data[at:]


def wide_wav() -> bytes:
    """Return a second of 440 Hz as a .wav of 64-bit integers."""
    wave = np.sin(np.arange(44_100) * 2 * np.pi * 440 / 44_100)
    samples = (wave * 2.0**62).astype("<i8").tobytes()
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 44_100, 44_100 * 8, 8, 64)
    body = b"WAVE" + form + b"data" + struct.pack("<I", len(samples)) + samples
    return b"RIFF" + struct.pack("<I", len(body)) + body


def vast_tracks(num_tracks: int = 100, num_frames: int = 1 << 23) -> bytes:
    """Return an MP4 of some kB whose tracks claim so many frames each."""
    data = mp4()
    at = data.index(b"moov") - 4
    inner = b""
    for tag, body in _boxes(data[at + 8 :]):
        inner += box(tag, body) if tag != b"trak" else _vast(tag, body, num_frames) * num_tracks
    return data[:at] + box(b"moov", inner)


def _boxes(data: bytes) -> list[tuple[bytes, bytes]]:
    found, at = [], 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        found.append((data[at + 4 : at + 8], data[at + 8 : at + size]))
        at += size
    return found


def _vast(tag: bytes, body: bytes, num_frames: int) -> bytes:
    """Return a box of a track, the tables in it claiming frames of a byte each."""
    tables = {
        b"stsz": u32(0, 1, num_frames),
        b"stts": u32(0, 1, num_frames, 1),
        b"stsc": u32(0, 1, 1, num_frames, 1),
        b"stco": u32(0, 1, 48),
    }
    if tag in tables:
        return box(tag, tables[tag])
    if tag in (b"trak", b"mdia", b"minf", b"stbl"):
        inner = [_vast(*one, num_frames) for one in _boxes(body) if one[0] not in _LEFT_OUT]
        return box(tag, b"".join(inner))
    return box(tag, body)


_LEFT_OUT = (b"ctts", b"stss", b"edts", b"sgpd", b"sbgp")


def read_oddly(path: Path, views: Mapping[str, View]) -> MadeOrNot:
    """Do what a decoder may do to its process, by the name of the file."""
    if path.name == "hangs":
        time.sleep(60)
    if path.name == "dies":
        os._exit(3)
    if path.name == "eats":
        np.ones(1 << 33)
    return read_any(path, views)
