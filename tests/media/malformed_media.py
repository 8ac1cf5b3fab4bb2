"""Malformed media: files as strangers send them, broken in every way, and how each must end."""

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from av.codec.codec import UnknownCodecError
from PIL import Image as Pillow

from tests.media.malformed_liars import boasting, disguised
from tests.media.malformed_makers import (
    BROKEN,
    MUTE,
    SILENT,
    SOUND,
    STILL,
    VIDEO,
    Animal,
    Statuses,
    cut,
    cut_at,
    fast_mp4,
    image,
    media,
    mp4,
    named,
    noise,
    noise_bytes,
    patched,
    picture,
    sine,
    sound,
    turned,
    u32,
    wav,
    webm,
    with_cover,
)


def place_malformed_media(folder: Path) -> dict[str, Statuses]:
    """Write malformed media into `folder`; those whose encoder is not there are left out.

    Returns:
        The statuses that each must have, by the file's name.
    """
    placed = {}
    for animal in [*_whole(), *_cut(), *_sounds(), *_images(), *disguised(), *boasting()]:
        try:
            data = animal.make()
        except UnknownCodecError:
            continue
        assert animal.name not in placed
        (folder / animal.name).write_bytes(data)
        placed[animal.name] = animal.statuses
    return placed


def place_irregular(folder: Path) -> dict[str, str]:
    """Write into `folder` what is no file to read, and return the status of each, by its name."""
    os.mkfifo(folder / "pipe.mp4")
    (folder / "dangling.mp4").symlink_to("nowhere.mp4")
    (folder / "loop.mp4").symlink_to("loop.mp4")
    (folder / "there.mp4").symlink_to("back.mp4")
    (folder / "back.mp4").symlink_to("there.mp4")
    (folder / "device.mp4").symlink_to("/dev/zero")
    (folder / "folder.mp4").mkdir()
    (folder / "zero bytes.mp4").touch()
    return {
        "pipe.mp4": "missing",
        "dangling.mp4": "missing",
        "loop.mp4": "missing",
        "there.mp4": "missing",
        "device.mp4": "missing",
        "folder.mp4": "missing",
        "zero bytes.mp4": "empty",
        "folder.mp4/inside.mp4": "missing",
        "never there.mp4": "missing",
        "y" * 300 + ".mp4": "missing",
    }


def _whole() -> Iterator[Animal]:
    """Yield files that other programs play, from the usual to the odd."""
    avi = partial(media, ".avi", codec="mpeg4", sound_codec="libmp3lame")
    ts = partial(media, ".ts")
    yield Animal("good.mp4", mp4, VIDEO)
    yield Animal("index in front.mp4", fast_mp4, VIDEO)
    yield Animal("sound first.mp4", partial(mp4, picture_first=False), VIDEO)
    fragments = "movflags=frag_keyframe+empty_moov"
    yield Animal("fragments.mp4", partial(mp4, options=fragments), VIDEO)
    yield Animal("vp8.webm", webm, VIDEO)
    yield Animal("neither length nor count.webm", partial(webm, options="live=1"), VIDEO)
    vp9 = partial(media, codec="libvpx-vp9", sound_codec="libopus", rate_hz=48_000)
    yield Animal("vp9.webm", partial(vp9, ".webm"), VIDEO)
    yield Animal("h264.mkv", partial(media, ".mkv"), VIDEO)
    yield Animal("mpeg4.avi", avi, VIDEO)
    raw = partial(media, ".avi", codec="rawvideo", sound_codec="pcm_s16le")
    yield Animal("raw.avi", raw, VIDEO)
    yield Animal("h264.ts", ts, VIDEO)
    yield Animal("mpeg2.mpg", partial(media, ".mpg", codec="mpeg2video", sound_codec="mp2"), VIDEO)
    yield Animal("flv1.flv", partial(media, ".flv", codec="flv", sound_codec="libmp3lame"), VIDEO)
    yield Animal("wmv2.wmv", partial(media, ".wmv", codec="wmv2", sound_codec="mp2"), VIDEO)
    prores = partial(media, codec="prores", pix_fmt="yuv422p10le", sound_codec="pcm_s16be")
    yield Animal("prores.mov", partial(prores, ".mov"), VIDEO)
    yield Animal("mpeg4.3gp", partial(media, ".3gp", codec="mpeg4"), VIDEO)
    yield Animal("hevc.mp4", partial(mp4, codec="libx265", encoder="x265-params=pools=1"), VIDEO)
    # No video of AV1: SVT-AV1 would give this process real-time priority, where root may. Pillow's
    # AVIF below is of the same codec.
    yield Animal("ten bits.mp4", partial(mp4, pix_fmt="yuv420p10le"), VIDEO)
    yield Animal("full colour.mp4", partial(mp4, pix_fmt="yuv444p"), VIDEO)
    yield Animal("no colour.mp4", partial(mp4, pix_fmt="gray"), VIDEO)

    yield Animal("no sound.mp4", partial(mp4, sound_s=0), MUTE)
    yield Animal("no sound.webm", partial(webm, sound_s=0), MUTE)
    yield Animal("one frame.mp4", partial(mp4, num_frames=1, sound_s=0), MUTE)
    yield Animal("bare stream.h264", partial(media, ".h264", sound_s=0), MUTE)
    yield Animal("bare stream.ivf", partial(media, ".ivf", codec="libvpx", sound_s=0), MUTE)
    yield Animal("no picture.mp4", partial(mp4, num_frames=0), SOUND)
    yield Animal("cover.m4a", lambda: with_cover(mp4(num_frames=0)), SOUND)
    yield Animal("cover.mp4", lambda: with_cover(mp4(sound_s=0)), MUTE)

    times_ms = (0, 10, 200, 210, 215, 500, 900, 910, 1500, 1510, 1520, 3000)
    yield Animal("uneven times.mp4", partial(mp4, times_ms=times_ms), VIDEO)
    yield Animal("uneven times.webm", partial(webm, times_ms=times_ms), VIDEO)
    yield Animal("one keyframe.mp4", partial(mp4, num_frames=120, encoder="g=999,bf=3"), VIDEO)
    yield Animal("turned.mp4", lambda: turned(mp4()), VIDEO)
    yield Animal("odd size.mp4", partial(mp4, size=(63, 47), pix_fmt="yuv444p"), VIDEO)
    yield Animal("tiny.mp4", partial(mp4, size=(2, 2)), VIDEO)
    yield Animal("one pixel wide.avi", partial(raw, size=(1, 48), pix_fmt="yuv444p"), VIDEO)
    yield Animal("one pixel.avi", partial(raw, size=(1, 1), pix_fmt="yuv444p"), VIDEO)
    yield Animal("very wide.mp4", partial(mp4, size=(4096, 2)), VIDEO)
    # An edit list that begins ten frames into the video, in units of its 12,800 a second.
    edited = patched(mp4(encoder="bf=0"), b"elst", 12, u32(10 * 512))
    yield Animal("edit list.mp4", lambda: edited, VIDEO)

    size = partial(media, ".ts", size=(96, 80), sound_s=0.3)
    yield Animal("changes its size.ts", lambda: ts() + size(), VIDEO)
    rate = partial(media, ".ts", rate_hz=22_050, layout="mono")
    yield Animal("changes its rate.ts", lambda: ts() + rate() + ts(), VIDEO)
    grown = partial(media, ".h264", sound_s=0, size=(96, 80))
    yield Animal("changes its size.h264", lambda: media(".h264", sound_s=0) + grown(), MUTE)
    yield Animal("late start.ts", lambda: cut(ts(), 0.1)[:1_316] + ts()[1_316:], VIDEO)
    # Its only keyframe is gone, and with it what the others build on.
    yield Animal("no start.ts", lambda: ts()[188 * 20 :], ("ok", "broken", "broken"))
    yield Animal("trailing rubbish.mp4", lambda: mp4() + noise_bytes(5_000), VIDEO)
    yield Animal("trailing rubbish.avi", lambda: avi() + noise_bytes(5_000), VIDEO)

    for name in (
        "ä ö 漢字 🎬 é.mp4",  # the last letter in two parts
        "x" * 251 + ".mp4",
        "new\nline.mp4",
        "100% of \"this\" and 'that' %d %s.mp4",
        "-i.mp4",
        "file:concat:a|b.mp4",
        "$(touch here); `id` & * ?.mp4",
        "space at its end .mp4",
        ".hidden",
        "no ending",
    ):
        yield Animal(name, partial(named, name), VIDEO)


def _cut() -> Iterator[Animal]:
    """Yield files that break off, or lack a part in the middle."""
    yield Animal("cut to 1 byte.mp4", lambda: mp4()[:1], BROKEN)
    yield Animal("cut to 30 bytes.mp4", lambda: mp4()[:30], BROKEN)
    yield Animal("cut in half.mp4", lambda: cut(mp4(), 0.5), BROKEN)  # the index is gone
    yield Animal("cut before its index.mp4", lambda: cut_at(mp4(), b"moov", -4), BROKEN)
    yield Animal("cut in its index.mp4", lambda: cut_at(mp4(), b"moov", 300), BROKEN)
    yield Animal("cut at the end of its index.mp4", lambda: mp4()[:-150], BROKEN)
    yield Animal("in front cut in half.mp4", lambda: cut(fast_mp4(), 0.6), VIDEO)
    yield Animal("in front cut at 95%.mp4", lambda: cut(fast_mp4(), 0.95), VIDEO)
    # What was promised is not there: streams without a frame or a sample.
    nothing = ("no_audio", "no_video", "broken")
    yield Animal("index alone.mp4", lambda: cut_at(fast_mp4(), b"mdat", 4), nothing)
    yield Animal("zeros for frames.mp4", lambda: _blank(fast_mp4(), b"mdat"), BROKEN)
    yield Animal("cut to 100 bytes.webm", lambda: webm()[:100], BROKEN)
    yield Animal("cut in half.webm", lambda: cut(webm(), 0.5), VIDEO)
    yield Animal("scratched.webm", lambda: _scratched(webm()), VIDEO)
    yield Animal("scratched.mp4", lambda: _scratched(fast_mp4()), VIDEO)
    avi = partial(media, ".avi", codec="mpeg4", sound_codec="libmp3lame")
    yield Animal("cut at 60%.avi", lambda: cut(avi(), 0.6), VIDEO)
    yield Animal("cut in half.ts", lambda: cut(media(".ts"), 0.5), VIDEO)
    yield Animal("cut in half.flac", lambda: cut(sound(".flac", "flac"), 0.5), SOUND)
    yield Animal("cut in half.mp3", lambda: cut(sound(".mp3", "libmp3lame"), 0.5), SOUND)
    yield Animal("cut in half.wav", lambda: cut(wav(sine()), 0.5), SOUND)
    yield Animal("header alone.wav", lambda: wav(sine())[:44], ("no_audio", "no_video", "broken"))
    yield Animal("cut in its header.wav", lambda: wav(sine())[:20], BROKEN)
    picture = ("no_audio", "broken", "broken")
    for form in ("PNG", "JPEG", "WEBP", "BMP", "TIFF"):
        name = f"cut in half.{form.lower()}"
        end = BROKEN if form == "WEBP" else picture
        yield Animal(name, partial(lambda f: cut(image(f, of=noise()), 0.5), form), end)
    slow = partial(image, "JPEG", of=noise(), progressive=True)
    yield Animal("cut in half, progressive.jpg", lambda: cut(slow(), 0.5), picture)
    yield Animal("cut to 10 bytes.png", lambda: image("PNG")[:10], BROKEN)


def _sounds() -> Iterator[Animal]:
    """Yield files of sound alone."""
    for suffix, codec in (
        (".flac", "flac"),
        (".mp3", "libmp3lame"),
        (".m4a", "aac"),
        (".aac", "aac"),
        (".ac3", "ac3"),
        (".opus", "libopus"),
        (".ogg", "vorbis"),
        (".caf", "pcm_s16be"),
        (".aiff", "pcm_s16be"),
        (".au", "pcm_s16be"),
        (".w64", "pcm_s16le"),
    ):
        yield Animal(f"sound{suffix}", partial(sound, suffix, codec, rate_hz=48_000), SOUND)
    yield Animal("8 kHz mono.wav", lambda: wav(sine()[:, :1], rate_hz=8_000, channels=1), SOUND)
    loud = partial(sound, ".flac", "flac", rate_hz=96_000, layout="5.1")
    yield Animal("96 kHz 5.1.flac", loud, SOUND)
    yield Animal("1 sample.wav", lambda: wav(sine()[10:11]), SILENT)  # it never changes
    yield Animal("10 samples.wav", lambda: wav(sine()[:10]), SOUND)
    yield Animal("100 samples.wav", lambda: wav(sine()[:100]), SOUND)
    yield Animal("digital silence.wav", lambda: wav(np.zeros((9_000, 2), np.int16)), SILENT)
    yield Animal("one level.wav", lambda: wav(np.full((9_000, 2), 8_000, np.int16)), SILENT)
    opposite = sine() * np.array([1, -1], np.int16)
    yield Animal("channels cancel out.wav", lambda: wav(opposite), SILENT)

    real = sine().astype(np.float32) / 32_768
    floats = partial(wav, bits=32, form=3)
    some = real.copy()
    some[5_000:5_100] = np.nan
    yield Animal("some not a number.wav", lambda: floats(some), SOUND)
    nan = np.full_like(real, np.nan)
    yield Animal("all not a number.wav", lambda: floats(nan), SILENT)
    infinite = real.copy()
    infinite[::1_000] = np.inf
    infinite[500::1_000] = -np.inf
    yield Animal("some infinite.wav", lambda: floats(infinite), SOUND)
    yield Animal("far too loud.wav", lambda: floats(1e30 * real), SOUND)
    yield Animal("wide.wav", lambda: wav(real.astype(np.float64), bits=64, form=3), SOUND)
    bytes_ = ((sine() >> 8) + 128).astype(np.uint8)
    yield Animal("8 bits.wav", lambda: wav(bytes_, bits=8), SOUND)


def _images() -> Iterator[Animal]:
    """Yield still images, which are the video of one frame."""
    for mode in ("1", "L", "LA", "P", "RGBA"):
        yield Animal(f"{mode}.png", partial(image, "PNG", mode), STILL)
    grey16 = Pillow.fromarray(np.arange(64 * 48, dtype=np.uint16).reshape(48, 64) * 20)
    yield Animal("16 bits.png", lambda: image("PNG", of=grey16), STILL)
    yield Animal("CMYK.jpg", partial(image, "JPEG", "CMYK"), STILL)
    yield Animal("float.tif", lambda: image("TIFF", of=picture("F")), STILL)
    exif = Pillow.Exif()
    exif[0x0112] = 6
    yield Animal("turned.jpg", lambda: image("JPEG", exif=exif), STILL)
    yield Animal("progressive.jpg", lambda: image("JPEG", progressive=True), STILL)
    yield Animal("trailing rubbish.jpg", lambda: image("JPEG") + noise_bytes(3_000), STILL)
    yield Animal("one pixel.png", lambda: image("PNG", of=picture(size=(1, 1))), STILL)
    yield Animal("very high.png", lambda: image("PNG", of=picture(size=(1, 5_000))), STILL)
    pages = [picture().rotate(angle) for angle in (30, 60)]
    yield Animal("pages.tif", lambda: image("TIFF", save_all=True, append_images=pages), STILL)
    yield Animal("film.gif", lambda: image("GIF", save_all=True, append_images=pages), STILL)
    yield Animal("film.webp", lambda: image("WEBP", save_all=True, append_images=pages), STILL)
    yield Animal("film.png", lambda: image("PNG", save_all=True, append_images=pages), STILL)
    for form in ("GIF", "WEBP", "BMP", "PPM", "JPEG2000", "AVIF"):
        yield Animal(f"still.{form.lower()}", partial(image, form), STILL)
    # Formats that no camera writes.
    for form in ("ICO", "TGA", "PCX", "EPS", "PDF"):
        yield Animal(f"still.{form.lower()}", partial(image, form), BROKEN)


def _scratched(data: bytes) -> bytes:
    """Return a file in whose middle 200 bytes are others."""
    middle = len(data) // 2
    return data[:middle] + b"\x55" * 200 + data[middle + 200 :]


def _blank(data: bytes, tag: bytes) -> bytes:
    """Return a file of zeros behind the tag."""
    start = data.index(tag) + len(tag)
    return data[:start] + bytes(len(data) - start)
