"""The media zoo: files as strangers send them, broken in every way, and how each must end."""

import gzip
import io
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from av.codec.codec import UnknownCodecError
from PIL import Image as Pillow

from tests.media.zoo_makers import (
    bmp,
    box,
    cut,
    cut_at,
    fast_mp4,
    image,
    media,
    mp4,
    named,
    nested,
    noise,
    noise_bytes,
    patched,
    picture,
    png,
    png_chunk,
    sine,
    sound,
    turned,
    u16,
    u32,
    wav,
    webm,
    with_cover,
)

Statuses = tuple[str, str, str]
"""Of a sound view, of a view of the video's frames and of an image view."""

VIDEO = ("ok", "ok", "broken")
MUTE = ("no_audio", "ok", "broken")
SOUND = ("ok", "no_video", "broken")
SILENT = ("silent", "no_video", "broken")
STILL = ("no_audio", "ok", "ok")
BROKEN = ("broken", "broken", "broken")
EMPTY = ("empty", "empty", "empty")
MISSING = ("missing", "missing", "missing")


@dataclass(frozen=True)
class Animal:
    """One file of the zoo."""

    name: str
    make: Callable[[], bytes]
    statuses: Statuses


def place_zoo(folder: Path) -> dict[str, Statuses]:
    """Write the zoo's files into `folder`; those whose encoder is not there are left out.

    Returns:
        The statuses that each must have, by the file's name.
    """
    placed = {}
    for animal in [*_whole(), *_cut(), *_sounds(), *_images(), *_disguised(), *_headers()]:
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
    yield Animal("av1.mp4", partial(mp4, codec="libsvtav1"), VIDEO)
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
    yield Animal("no start.ts", lambda: ts()[188 * 20 :], VIDEO)
    yield Animal("trailing rubbish.mp4", lambda: mp4() + noise_bytes(5_000), VIDEO)
    yield Animal("trailing rubbish.avi", lambda: avi() + noise_bytes(5_000), VIDEO)

    for name in (
        "ä ö 漢字 🎬 é.mp4",  # the last letter in two parts
        "x" * 251 + ".mp4",
        "new\nline.mp4",
        '100% of "this" and \'that\' %d %s.mp4',
        "-i.mp4",
        "file:concat:a|b.mp4",
        "$(touch here); `id` & * ?.mp4",
        " space at both ends ".strip() + " .mp4",
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
    yield Animal("cut in its sound's index.mp4", lambda: mp4()[:-150], VIDEO)
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
    yield Animal("cut in half.avi", lambda: cut(avi(), 0.5), VIDEO)
    yield Animal("cut in half.ts", lambda: cut(media(".ts"), 0.5), VIDEO)
    yield Animal("cut in half.flac", lambda: cut(sound(".flac", "flac"), 0.5), SOUND)
    yield Animal("cut in half.mp3", lambda: cut(sound(".mp3", "libmp3lame"), 0.5), SOUND)
    yield Animal("cut in half.wav", lambda: cut(wav(sine()), 0.5), SOUND)
    yield Animal("header alone.wav", lambda: wav(sine())[:44], ("no_audio", "no_video", "broken"))
    yield Animal("cut in its header.wav", lambda: wav(sine())[:20], BROKEN)
    for form in ("PNG", "JPEG", "WEBP", "BMP", "TIFF"):
        name = f"cut in half.{form.lower()}"
        yield Animal(name, partial(lambda f: cut(image(f, of=noise()), 0.5), form), BROKEN)
    slow = partial(image, "JPEG", of=noise(), progressive=True)
    yield Animal("cut in half, progressive.jpg", lambda: cut(slow(), 0.5), BROKEN)
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


def _disguised() -> Iterator[Animal]:
    """Yield files that are not what their name says, or no media at all."""
    yield Animal("video.jpg", lambda: mp4(num_frames=13), VIDEO)
    yield Animal("video.wav", lambda: webm(num_frames=13), VIDEO)
    yield Animal("png.mp4", partial(image, "PNG", of=picture(size=(50, 40))), STILL)
    yield Animal("jpg.wav", partial(image, "JPEG", of=picture(size=(50, 40))), STILL)
    yield Animal("wav.mp4", lambda: wav(sine(9_000)), SOUND)
    yield Animal("mp3.png", lambda: sound(".mp3", "libmp3lame", sound_s=0.6), SOUND)
    text = b"This is no media file, whatever its name says.\n" * 50
    for suffix in ("mp4", "wav", "mp3", "ts", "h264", "gif", "jpg", "m4v", "aac"):
        content = text + suffix.encode()
        yield Animal(f"text.{suffix}", partial(bytes, content), BROKEN)
    page = b"<!DOCTYPE html><html><body><h1>404 Not Found</h1></body></html>"
    yield Animal("page.mp4", lambda: page, BROKEN)
    drawing = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'
    yield Animal("drawing.png", lambda: drawing, BROKEN)
    yield Animal("zip.mp4", lambda: _zipped(mp4()), BROKEN)
    yield Animal("gzip.mp4", lambda: gzip.compress(mp4(), mtime=0), BROKEN)
    program = b"\x7fELF\x02\x01\x01" + bytes(9) + noise_bytes(20_000)
    yield Animal("program.mp4", lambda: program, BROKEN)
    for seed in range(4):
        yield Animal(f"noise {seed}.mp4", partial(noise_bytes, 30_000, 1 + seed), BROKEN)
    yield Animal("zeros.mp4", lambda: bytes(1 << 20), BROKEN)
    yield Animal("ones.mp4", lambda: b"\xff" * (1 << 18), BROKEN)
    concat = b"ffconcat version 1.0\nfile good.mp4\n"
    yield Animal("concat.mp4", lambda: concat, BROKEN)
    hls = b"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2.0,\ngood.mp4\n#EXT-X-ENDLIST\n"
    yield Animal("hls.mp4", lambda: hls, BROKEN)
    yield Animal("m3u.mp4", lambda: b"#EXTM3U\ngood.mp4\n", BROKEN)
    sdp = b"v=0\no=- 0 0 IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n"
    yield Animal("sdp.mp4", lambda: sdp, BROKEN)
    subtitles = b"1\n00:00:00,000 --> 00:00:02,000\nHello\n\n"
    yield Animal("subtitles.mp4", lambda: subtitles, BROKEN)


def _headers() -> Iterator[Animal]:
    """Yield files whose headers claim what cannot be."""
    billion = u32(1_000_000_000)
    # The table of sizes would end far behind the file.
    yield Animal("a billion frames.mp4", lambda: patched(mp4(), b"stsz", 8, billion), BROKEN)
    lasting = patched(mp4(), b"stts", 8, billion)
    yield Animal("a billion times.mp4", lambda: lasting, VIDEO)
    yield Animal("a billion edits.mp4", lambda: patched(mp4(), b"elst", 4, billion), VIDEO)
    yield Animal("a long film.mp4", lambda: patched(mp4(), b"mvhd", 16, u32(0xFFFFFFFE)), VIDEO)
    yield Animal("no time base.mp4", lambda: patched(mp4(), b"mdhd", 12, u32(0)), VIDEO)
    places = patched(fast_mp4(), b"stco", 8, u32(0xFFFFFFF0))
    yield Animal("frames nowhere.mp4", lambda: places, VIDEO)
    yield Animal("a huge index.mp4", lambda: patched(mp4(), b"moov", -8, u32(0x7FFFFFFF)), VIDEO)
    yield Animal("nested.mp4", partial(nested, 2_000), BROKEN)
    # H.264 says its size itself: that of the container is not believed.
    size = u16(65_535) * 2
    yield Animal("vast by its container.mp4", lambda: patched(mp4(), b"avc1", 24, size), VIDEO)
    # Raw pictures do not.
    raw = media(".avi", codec="rawvideo", sound_codec="pcm_s16le")
    vast = raw.replace(np.array([64, 48], "<u4").tobytes(), np.array([60_000] * 2, "<u4").tobytes())
    yield Animal("vast.avi", lambda: vast, ("ok", "too_large", "broken"))
    # So does VP8, in every keyframe.
    big = patched(media(".ivf", codec="libvpx", sound_s=0), b"\x9d\x01\x2a", 0, b"\xff\x3f" * 2)
    yield Animal("vast.ivf", lambda: big, ("no_audio", "too_large", "broken"))
    yield Animal("no channels.mp4", lambda: patched(mp4(), b"mp4a", 16, u16(0)), VIDEO)
    yield Animal("no rate.mp4", lambda: patched(mp4(), b"mp4a", 24, u32(0)), VIDEO)

    claims = partial(wav, sine())
    yield Animal("rate 0.wav", partial(claims, rate_hz=0), ("broken", "no_video", "broken"))
    for rate_hz in (1 << 31, (1 << 31) - 1, 10):
        name = f"rate {rate_hz}.wav"
        yield Animal(name, partial(claims, rate_hz=rate_hz), ("broken", "no_video", "broken"))
    yield Animal("no channels.wav", partial(claims, channels=0, block=4), BROKEN)
    yield Animal("65,535 channels.wav", partial(claims, channels=65_535, block=4), BROKEN)
    yield Animal("0 bits.wav", partial(claims, bits=0, block=4), BROKEN)
    yield Animal("65,535 bits.wav", partial(claims, bits=65_535, block=4), BROKEN)
    yield Animal("no block.wav", partial(claims, block=0), SOUND)
    yield Animal("4 GB.wav", partial(claims, claimed=0xFFFFFFF0), SOUND)
    yield Animal("0 bytes.wav", partial(claims, claimed=0), SOUND)  # a pipe's header

    large = ("no_audio", "too_large", "too_large")
    yield Animal("vast.png", lambda: png(2**31 - 1, 2**31 - 1, bytes(100)), large)
    yield Animal("a billion pixels.png", lambda: png(1 << 20, 1 << 10, bytes(100)), large)
    yield Animal("no pixels.png", lambda: png(0, 0, bytes(100)), BROKEN)
    # 100 MB from 100 kB; and 8192 x 8192, which may be: 8 MB from 8 kB.
    bomb = partial(png, 10_000, 10_000, (b"\0" + bytes(1_250)) * 10_000, bits=1, colour=0)
    yield Animal("bomb.png", bomb, large)
    just = partial(png, 8_192, 8_192, (b"\0" + bytes(1_024)) * 8_192, bits=1, colour=0)
    yield Animal("largest.png", just, STILL)
    words = b"Comment\0\0" + zlib.compress(bytes(1 << 26), 9)
    rows = (b"\0" + bytes(192)) * 48
    noted = partial(png, 64, 48, rows, more=png_chunk(b"zTXt", words))
    yield Animal("bomb in its words.png", noted, BROKEN)
    yield Animal("vast.bmp", partial(bmp, 100_000, 100_000), large)
    yield Animal("negative.bmp", partial(bmp, -64, 48), BROKEN)
    yield Animal("short.bmp", partial(bmp, 640, 480), BROKEN)
    screen = patched(image("GIF"), b"GIF87a", 0, b"\xff\xff" * 2)
    yield Animal("vast.gif", lambda: screen, large)
    jpeg = patched(image("JPEG"), b"\xff\xc0", 3, size)
    yield Animal("vast.jpg", lambda: jpeg, large)
    form = box(b"ftyp", b"isom" + u32(0) + b"isom")
    yield Animal("form alone.mp4", lambda: form, BROKEN)
    yield Animal("a box without end.mp4", lambda: form + u32(1) + b"moov" + b"\xff" * 8, BROKEN)


def _scratched(data: bytes) -> bytes:
    """Return a file in whose middle 200 bytes are others."""
    middle = len(data) // 2
    return data[:middle] + b"\x55" * 200 + data[middle + 200 :]


def _blank(data: bytes, tag: bytes) -> bytes:
    """Return a file of zeros behind the tag."""
    start = data.index(tag) + len(tag)
    return data[:start] + bytes(len(data) - start)


def _zipped(data: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(zipfile.ZipInfo("clip.mp4"), data)
    return file.getvalue()
