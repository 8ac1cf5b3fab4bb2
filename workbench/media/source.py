"""What holds for every media file before it is decoded: limits, statuses and how it is opened."""

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, overload

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.stream import Discard
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from workbench.errors import MediaError

Status = Literal[
    "missing",  # no such file, or not a file
    "empty",  # 0 bytes
    "broken",  # not media of an accepted format, or nothing of it can be decoded
    "no_audio",  # no sound stream, or one without a sample
    "no_video",  # no picture stream (cover art is none), or one without a frame
    "silent",  # the sound never changes, so its picture would be one colour
    "too_large",  # a picture of more than MAX_PIXELS
]
"""Why a file could not be decoded."""

MAX_DURATION_S = 600
"""Sound past this is cut off, in seconds."""

MAX_FRAMES = 18_000
"""A video's frames past this many are not looked at (10 minutes at 30 frames a second)."""

MAX_VIDEO_PIXELS = 1 << 35
"""Nor at frames past this many pixels in all (16,569 frames of 1920 x 1080)."""

MAX_PIXELS = 1 << 26
"""Pictures of more pixels than this are refused: 8192 x 8192."""

# Files come from strangers: playlists and lists of files (hls, dash, concat, image2), which name
# other files for FFmpeg to open, are left out.
_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,asf,mpegts,mpeg,ogg,"
    "wav,w64,aiff,au,caf,mp3,aac,flac,ac3,eac3,amr,gif,h264,hevc,mpegvideo,m4v,ivf"
)


def failure(status: Status, reason: str) -> MediaError:
    """Return the error of a file that ends with `status`.

    The reason does not name the file: its copies share one outcome.
    """
    return MediaError(reason, status=status)


def check_file(path: Path) -> None:
    """Raise MediaError (missing, empty or broken) unless `path` is a file with content."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise failure("missing", "the file does not exist") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise failure("broken", f"the file cannot be read: {said_by(error)}") from error
    # A pipe or a device could be read for ever.
    if not stat.S_ISREG(found.st_mode):
        raise failure("missing", "the path is not that of a file")
    if not found.st_size:
        raise failure("empty", "the file is empty (0 bytes)")


@contextmanager
def opened(path: Path) -> Iterator[InputContainer]:
    """Open the sound or video file `path`.

    Raises:
        MediaError: missing, empty or broken; an FFmpeg error in the body is broken too.
    """
    check_file(path)
    try:
        # "file:" keeps a name such as "concat:a|b" a name.
        with av.open(
            f"file:{path}", options={"format_whitelist": _FORMATS}, metadata_errors="replace"
        ) as container:
            yield container
    except (av.FFmpegError, OSError) as error:
        raise failure("broken", f"the file cannot be decoded: {said_by(error)}") from error


@overload
def decoded(container: InputContainer, stream: AudioStream) -> Iterator[AudioFrame]: ...
@overload
def decoded(container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]: ...
def decoded(
    container: InputContainer, stream: AudioStream | VideoStream
) -> Iterator[AudioFrame] | Iterator[VideoFrame]:
    """Yield the frames of one stream, passing over packets that cannot be decoded.

    FFmpeg's own program does so too: a scratch in a file does not lose the rest of it.

    Raises:
        av.FFmpegError: the first error, where it left no frame at all.
    """
    for other in container.streams:
        if other is not stream:
            other.discard = Discard.all
    # Files are decoded in parallel, one a process.
    stream.codec_context.thread_count = 1
    is_barren, first_error = True, None
    for packet in packets(container, stream):
        try:
            frames = stream.decode(packet)
        except av.FFmpegError as error:
            first_error = first_error or error
            continue
        for frame in frames:
            is_barren = False
            yield frame
    if is_barren and first_error:
        raise first_error


def packets(
    container: InputContainer, stream: AudioStream | VideoStream
) -> "Iterator[Packet[Any] | None]":
    """Yield the packets of one stream; None in place of the end where the file breaks off."""
    try:
        yield from container.demux(stream)
    except av.FFmpegError:
        yield None  # tells the decoder to give what it still holds


def said_by(error: Exception) -> str:
    """Return what `error` says, without the file's path, as the end of a sentence."""
    said = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(said).split()).rstrip(".")
