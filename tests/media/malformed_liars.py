"""Malformed media that are not what they say."""

import gzip
import io
import struct
import zipfile
import zlib
from collections.abc import Iterator
from functools import partial

from tests.media.malformed_makers import (
    BROKEN,
    SOUND,
    STILL,
    VIDEO,
    Animal,
    bmp,
    box,
    fast_mp4,
    image,
    media,
    mp4,
    nested,
    noise_bytes,
    patched,
    picture,
    png,
    png_chunk,
    sine,
    sound,
    u16,
    u32,
    wav,
    webm,
)


def disguised() -> Iterator[Animal]:
    """Yield files that are not what their name says, or no media at all."""
    yield Animal("video.jpg", lambda: mp4(num_frames=13), VIDEO)
    yield Animal("video.wav", lambda: webm(num_frames=13), VIDEO)
    yield Animal("png.mp4", partial(image, "PNG", of=picture(size=(50, 40))), STILL)
    yield Animal("jpg.wav", partial(image, "JPEG", of=picture(size=(50, 40))), STILL)
    yield Animal("wav.mp4", lambda: wav(sine(9_000)), SOUND)
    yield Animal("mp3.mp4", lambda: sound(".mp3", "libmp3lame", sound_s=0.6), SOUND)
    # An MP3 shows less clearly what it is than an image's ending does: FFmpeg believes the ending.
    yield Animal("mp3.png", lambda: sound(".mp3", "libmp3lame", sound_s=0.7), BROKEN)
    text = b"This is no media file, whatever its name says.\n" * 50
    for suffix in ("mp4", "wav", "mp3", "ts", "h264", "gif", "jpg", "aac"):
        content = text + suffix.encode()
        yield Animal(f"text.{suffix}", partial(bytes, content), BROKEN)
    # By its ending a bare video stream, which has no sound.
    yield Animal("text.m4v", lambda: text, ("no_audio", "broken", "broken"))
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


def boasting() -> Iterator[Animal]:
    """Yield files whose headers claim what cannot be."""
    billion = u32(1_000_000_000)
    # The table of sizes would end far behind the file.
    yield Animal("a billion frames.mp4", lambda: patched(mp4(), b"stsz", 8, billion), BROKEN)
    yield Animal("a billion times.mp4", lambda: patched(mp4(), b"stts", 8, billion), VIDEO)
    yield Animal("a billion edits.mp4", lambda: patched(mp4(), b"elst", 4, billion), VIDEO)
    yield Animal("a long film.mp4", lambda: patched(mp4(), b"mvhd", 16, u32(0xFFFFFFFE)), VIDEO)
    unseen = ("ok", "no_video", "broken")
    # With a second as the unit of time, no frame lies within the edit list's half second.
    yield Animal("no time base.mp4", lambda: patched(mp4(), b"mdhd", 12, u32(0)), unseen)
    yield Animal("edits far off.mp4", lambda: patched(mp4(), b"elst", 12, u32(1 << 30)), unseen)
    places = u32(0xFFFFFFF0)
    yield Animal("frames nowhere.mp4", lambda: patched(fast_mp4(), b"stco", 8, places), unseen)
    for tag, name in ((b"stsc", "chunks"), (b"ctts", "delays")):
        claim = patched(mp4(), tag, 4, billion)
        yield Animal(f"a billion {name}.mp4", partial(bytes, claim), BROKEN)
    yield Animal("vast frames.mp4", lambda: patched(mp4(), b"stsz", 12, u32(0x7FFFFFFF)), unseen)
    run = mp4(options="movflags=frag_keyframe+empty_moov")
    at = run.index(b"trun") + 8
    yield Animal("a billion in a run.mp4", lambda: run[:at] + billion + run[at + 4 :], BROKEN)
    yield Animal("frames of no time.mp4", lambda: patched(mp4(), b"stts", 12, u32(0)), VIDEO)
    no_code = ("ok", "broken", "broken")
    yield Animal("no codec.mp4", lambda: patched(mp4(), b"avcC", 0, b"\xff" * 20), no_code)
    yield Animal("turned to nothing.mp4", lambda: patched(mp4(), b"tkhd", 40, bytes(36)), VIDEO)
    slanted = u32(46_341, 46_341, 0, 0xFFFF4AFB, 46_341, 0, 0, 0, 0x40000000)
    yield Animal("turned by 45 degrees.mp4", lambda: patched(mp4(), b"tkhd", 40, slanted), VIDEO)
    yield Animal("a huge index.mp4", lambda: patched(mp4(), b"moov", -8, u32(0x7FFFFFFF)), VIDEO)
    yield Animal("nested.mp4", partial(nested, 2_000), BROKEN)
    # H.264 says its size itself: that of the container is not believed.
    size = u16(65_535) * 2
    yield Animal("vast by its container.mp4", lambda: patched(mp4(), b"avc1", 24, size), VIDEO)
    # Raw pictures do not; FFmpeg knows none of 60,000 x 60,000.
    raw = media(".avi", codec="rawvideo", sound_codec="pcm_s16le")
    for side, status in ((12_000, "too_large"), (60_000, "broken")):
        vast = raw.replace(struct.pack("<II", 64, 48), struct.pack("<II", side, side))
        yield Animal(f"{side} squared.avi", partial(bytes, vast), ("ok", status, "broken"))
    # VP8 says it in every keyframe, and the decoder has its orders.
    big = struct.pack("<HH", 12_000, 12_000)
    vast = patched(media(".ivf", codec="libvpx", sound_s=0), b"\x9d\x01\x2a", 0, big)
    yield Animal("vast.ivf", partial(bytes, vast), ("no_audio", "broken", "broken"))
    yield Animal("no channels.mp4", lambda: patched(mp4(), b"mp4a", 16, u16(0)), VIDEO)
    yield Animal("no rate.mp4", lambda: patched(mp4(), b"mp4a", 24, u32(0)), VIDEO)

    claims = partial(wav, sine())
    for rate_hz in (0, 1 << 31):  # FFmpeg opens no such file
        yield Animal(f"rate {rate_hz}.wav", partial(claims, rate_hz=rate_hz), BROKEN)
    unheard = ("broken", "no_video", "broken")
    for rate_hz in ((1 << 31) - 1, 10):
        yield Animal(f"rate {rate_hz}.wav", partial(claims, rate_hz=rate_hz), unheard)
    for channels in (0, 65_535):
        animal = partial(claims, channels=channels, block=4)
        yield Animal(f"{channels} channels.wav", animal, unheard)
    yield Animal("0 bits.wav", partial(claims, bits=0, block=4), BROKEN)
    yield Animal("65,535 bits.wav", partial(claims, bits=65_535, block=4), BROKEN)
    yield Animal("no block.wav", partial(claims, block=0), SOUND)
    yield Animal("4 GB.wav", partial(claims, claimed=0xFFFFFFF0), SOUND)
    huge = patched(wav(sine()), b"fmt ", 0, b"\xff\xff\xff\x7f")
    yield Animal("huge header.wav", partial(bytes, huge), BROKEN)
    flac = sound(".flac", "flac")
    lasting = flac[:21] + b"\xff" * 5 + flac[26:]
    yield Animal("a billion seconds.flac", partial(bytes, lasting), SOUND)
    mp3 = sound(".mp3", "libmp3lame")
    yield Animal("a tag of 256 MB.mp3", lambda: b"ID3\x04\0\0" + b"\x7f" * 4 + mp3, BROKEN)
    yield Animal("0 bytes.wav", partial(claims, claimed=0), SOUND)  # a pipe's header

    large = ("no_audio", "too_large", "too_large")
    yield Animal("vast.png", lambda: png(2**31 - 1, 2**31 - 1, bytes(100)), large)
    yield Animal("a billion pixels.png", lambda: png(1 << 20, 1 << 10, bytes(100)), large)
    yield Animal("no pixels.png", lambda: png(0, 0, bytes(100)), BROKEN)
    # 100 MB from 100 kB; and 8192 x 8192, which may be: 8 MB from 8 kB.
    bomb = partial(png, 10_000, 10_000, (b"\0" + bytes(1_250)) * 10_000, bits=1, colour=0)
    yield Animal("bomb.png", bomb, large)
    just = partial(png, 8_192, 8_192, (b"\0" + b"\xff" * 1_024) * 8_192, bits=1, colour=0)
    yield Animal("largest.png", just, STILL)
    words = b"Comment\0\0" + zlib.compress(bytes(1 << 26), 9)
    rows = (b"\0" + bytes(192)) * 48
    noted = partial(png, 64, 48, rows, more=png_chunk(b"zTXt", words))
    yield Animal("bomb in its words.png", noted, BROKEN)
    yield Animal("vast.bmp", partial(bmp, 100_000, 100_000), large)
    yield Animal("negative.bmp", partial(bmp, -64, 48), large)  # 2**32 - 64 pixels wide
    yield Animal("short.bmp", partial(bmp, 640, 480), ("no_audio", "broken", "broken"))
    screen = patched(image("GIF"), b"GIF87a", 0, b"\xff\xff" * 2)
    yield Animal("vast.gif", lambda: screen, ("no_audio", "broken", "too_large"))
    jpeg = patched(image("JPEG"), b"\xff\xc0", 3, size)
    yield Animal("vast.jpg", lambda: jpeg, large)
    form = box(b"ftyp", b"isom" + u32(0) + b"isom")
    yield Animal("form alone.mp4", lambda: form, BROKEN)
    yield Animal("a box without end.mp4", lambda: form + u32(1) + b"moov" + b"\xff" * 8, BROKEN)


def _zipped(data: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(zipfile.ZipInfo("clip.mp4"), data)
    return file.getvalue()
