"""What malformed media are made of: encoders, headers written by hand, ways to break a file."""

import io
import struct
import tempfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image as Pillow

from tests.media.clips import Pictures, Sound, chirp, moving

Statuses = tuple[str, str, str]
"""Of a sound view, of a view of the video's frames and of an image view."""

VIDEO = ("ok", "ok", "broken")
MUTE = ("no_audio", "ok", "broken")
SOUND = ("ok", "no_video", "broken")
SILENT = ("silent", "no_video", "broken")
STILL = ("no_audio", "ok", "ok")
BROKEN = ("broken", "broken", "broken")


@dataclass(frozen=True)
class Animal:
    """One malformed file."""

    name: str
    make: Callable[[], bytes]
    statuses: Statuses


_MS = Fraction(1, 1000)
_CHANNELS = {"mono": 1, "stereo": 2, "5.1": 6}


@cache
def media(
    suffix: str,
    *,
    num_frames: int = 12,
    size: tuple[int, int] = (64, 48),
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    encoder: str = "",
    times_ms: tuple[int, ...] = (),
    sound_s: float = 0.5,
    rate_hz: int = 44_100,
    sound_codec: str = "aac",
    layout: str = "stereo",
    options: str = "",
    picture_first: bool = True,
) -> bytes:
    """Return an encoded file; the same arguments give the same bytes.

    Args:
        suffix: Its ending, which chooses the container.
        num_frames: Frames at 25 a second; 0: no video stream.
        size: Width and height.
        codec: Of the video.
        pix_fmt: Of the video.
        encoder: More options of the video's encoder, as `name=value,name=value`.
        times_ms: When each frame is shown; evenly by default.
        sound_s: Length of the sound; 0: no sound stream.
        rate_hz: Of the sound.
        sound_codec: Of the sound.
        layout: Of the sound's channels.
        options: Of the container, as `encoder`.
        picture_first: Whether the first stream is the video.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"x{suffix}"
        with av.open(str(path), "w", options={"fflags": "+bitexact", **_pairs(options)}) as file:
            streams: dict[str, Any] = {}
            for kind in ("video", "sound") if picture_first else ("sound", "video"):
                if kind == "video" and num_frames:
                    streams[kind] = stream = file.add_stream(codec, rate=25)
                    stream.width, stream.height = size
                    stream.pix_fmt = pix_fmt
                    # With its tree and several threads x264 does not always give the same bytes.
                    own = {"x264-params": "mbtree=0:threads=1"} if codec == "libx264" else {}
                    stream.options = own | _pairs(encoder)
                if kind == "sound" and sound_s:
                    streams[kind] = file.add_stream(sound_codec, rate=rate_hz, layout=layout)
                    if sound_codec == "vorbis":  # FFmpeg's own needs to be told that one means it
                        streams[kind].options = {"strict": "experimental"}
            for stream in streams.values():
                stream.codec_context.flags |= av.codec.context.Flags.bitexact
                stream.codec_context.thread_count = 1
            if num_frames:
                pictures = moving(num_frames, width=size[0], height=size[1])
                _mux_video(file, streams["video"], pictures, times_ms)
            if sound_s:
                sound = chirp(sound_s, rate_hz=rate_hz, channels=_CHANNELS[layout])
                _mux_sound(file, streams["sound"], sound, rate_hz, layout)
        return path.read_bytes()


def _pairs(options: str) -> dict[str, str]:
    return dict(option.split("=", 1) for option in options.split(",") if option)


def _mux_video(file: Any, stream: Any, pictures: Pictures, times_ms: tuple[int, ...]) -> None:
    if times_ms:
        stream.codec_context.time_base = _MS
    for index, picture in enumerate(pictures):
        frame = av.VideoFrame.from_ndarray(picture, "rgb24")
        if times_ms:
            frame.pts, frame.time_base = times_ms[index], _MS
        file.mux(stream.encode(frame))
    file.mux(stream.encode(None))


def _mux_sound(file: Any, stream: Any, sound: Sound, rate_hz: int, layout: str) -> None:
    frame = av.AudioFrame.from_ndarray(sound.reshape(1, -1), "s16", layout)
    frame.sample_rate = rate_hz
    file.mux(stream.encode(frame))
    file.mux(stream.encode(None))


def mp4(**settings: Any) -> bytes:
    """Return a video of 12 frames with half a second of sound, its index (moov) at the end."""
    return media(".mp4", **settings)


def fast_mp4() -> bytes:
    """Return the same with its index in front."""
    return mp4(options="movflags=faststart")


def webm(**settings: Any) -> bytes:
    """Return the same as WebM: VP8 and Opus."""
    return media(".webm", codec="libvpx", sound_codec="libopus", rate_hz=48_000, **settings)


def sound(suffix: str, sound_codec: str, **settings: Any) -> bytes:
    """Return a file of sound alone."""
    return media(suffix, num_frames=0, sound_codec=sound_codec, **settings)


def wav(
    values: Any,
    *,
    rate_hz: int = 44_100,
    channels: int = 2,
    bits: int = 16,
    form: int = 1,
    claimed: int | None = None,
    block: int | None = None,
) -> bytes:
    """Return a WAV with these samples, in a header that says just what it is told to.

    Args:
        values: Samples as they are stored, channels side by side.
        rate_hz: Samples a second.
        channels: Channels.
        bits: Of one value.
        form: 1 whole numbers, 3 floating point.
        claimed: Bytes of samples that the header announces.
        block: Bytes of all channels' values of one time.
    """
    data = np.asarray(values).tobytes()
    block = block if block is not None else channels * bits // 8
    rates = struct.pack("<II", rate_hz, rate_hz * block & 0xFFFFFFFF)
    head = struct.pack("<HH", form, channels) + rates + struct.pack("<HH", block, bits)
    size = struct.pack("<I", len(data) if claimed is None else claimed)
    body = b"WAVEfmt " + struct.pack("<I", len(head)) + head + b"data" + size + data
    return b"RIFF" + struct.pack("<I", len(body) & 0xFFFFFFFF) + body


def sine(num_samples: int = 22_050) -> Sound:
    """Return (samples, 2): 441 Hz at half of full scale."""
    wave = 16_384 * np.sin(2 * np.pi * np.arange(num_samples) / 100)
    return np.repeat(np.rint(wave).astype(np.int16)[:, None], 2, axis=1)


def picture(mode: str = "RGB", size: tuple[int, int] = (64, 48)) -> Pillow.Image:
    """Return a colourful image."""
    return Pillow.fromarray(moving(1, width=size[0], height=size[1])[0]).convert(mode)


def image(form: str, mode: str = "RGB", *, of: Pillow.Image | None = None, **options: Any) -> bytes:
    """Return an image file."""
    file = io.BytesIO()
    (of or picture(mode)).save(file, form, **options)
    return file.getvalue()


def noise() -> Pillow.Image:
    """Return an image that no format makes much smaller, so that a cut goes through its pixels."""
    return Pillow.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))


def png(
    width: int, height: int, rows: bytes, *, bits: int = 8, colour: int = 2, more: bytes = b""
) -> bytes:
    """Return a PNG of this header with `rows` before compression; `more` chunks go between."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    body = png_chunk(b"IHDR", header) + more + png_chunk(b"IDAT", zlib.compress(rows, 9))
    return b"\x89PNG\r\n\x1a\n" + body + png_chunk(b"IEND", b"")


def png_chunk(tag: bytes, body: bytes) -> bytes:
    """Return one chunk of a PNG."""
    return struct.pack(">I", len(body)) + tag + body + struct.pack(">I", zlib.crc32(tag + body))


def bmp(width: int, height: int) -> bytes:
    """Return a BMP of this header and 64 x 48 pixels."""
    pixels = bytes(moving(1)[0])
    head = b"BM" + struct.pack("<IHHI", 54 + len(pixels), 0, 0, 54)
    rest = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, len(pixels), 0, 0, 0, 0)
    return head + rest + pixels


def gif_bomb(side: int, num_frames: int) -> bytes:
    """Return a GIF of 25 bytes a frame, of which each is as large as the whole picture."""
    size = struct.pack("<HH", side, side)
    head = b"GIF89a" + size + b"\x80\0\0" + b"\0\0\0\xff\xff\xff"
    pixel = b"," + bytes(4) + b"\1\0\1\0\0" + b"\x02\x02\x44\x01\0"
    return head + (b"!\xf9\x04\0\x01\0\0\0" + pixel) * num_frames + b";"


def cut(data: bytes, part: float) -> bytes:
    """Return the first `part` of the bytes."""
    return data[: round(part * len(data))]


def cut_at(data: bytes, tag: bytes, more: int = 0) -> bytes:
    """Return what stands before the first `tag`, and `more` bytes."""
    end = data.index(tag) + more
    return data[:end]


def patched(data: bytes, tag: bytes, offset: int, new: bytes, *, nth: int = 0) -> bytes:
    """Return `data` with `new` at `offset` behind the `nth` occurrence of `tag`.

    Of an MP4, the tags of its index alone are counted.
    """
    at = max(0, data.find(b"moov"))
    for _ in range(nth + 1):
        at = data.index(tag, at) + len(tag)
    at += offset
    return data[:at] + new + data[at + len(new) :]


def u16(value: int) -> bytes:
    """Return 2 bytes, the high one first."""
    return struct.pack(">H", value)


def u32(*values: int) -> bytes:
    """Return 4 bytes for each value, the high one first."""
    return struct.pack(f">{len(values)}I", *values)


def box(tag: bytes, body: bytes) -> bytes:
    """Return a box of an MP4."""
    return u32(8 + len(body)) + tag + body


def turned(data: bytes) -> bytes:
    """Return an MP4 that is to be shown turned by a quarter."""
    matrix = u32(0, 0x10000, 0, 0xFFFF0000, 0, 0, 0, 0, 0x40000000)
    return patched(data, b"tkhd", 40, matrix)


def with_cover(data: bytes) -> bytes:
    """Return an MP4 whose index, at its end, holds a cover picture."""
    cover = box(b"covr", box(b"data", u32(13, 0) + image("JPEG")))
    handler = box(b"hdlr", u32(0, 0) + b"mdirappl" + bytes(9))
    more = box(b"udta", box(b"meta", u32(0) + handler + box(b"ilst", cover)))
    at = data.index(b"moov") - 4
    return data[:at] + u32(len(data) - at + len(more)) + data[at + 4 :] + more


def named(name: str) -> bytes:
    """Return a good video that holds a name, so that its content is its own."""
    return mp4() + box(b"free", name.encode())


def nested(depth: int) -> bytes:
    """Return boxes within boxes of an MP4's index."""
    data = b""
    for _ in range(depth):
        data = box(b"moov", data)
    return box(b"ftyp", b"isom" + u32(0) + b"isom") + data


def noise_bytes(count: int, seed: int = 0) -> bytes:
    """Return random bytes."""
    return bytes(np.random.default_rng(seed).bytes(count))
