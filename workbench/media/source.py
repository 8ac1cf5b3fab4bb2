"""What holds for every media file before it is decoded: limits, statuses and how it is opened."""

import errno
import stat
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Literal

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.stream import Discard
from av.video.stream import VideoStream

from workbench.errors import MediaError

Status = Literal[
    "missing",  # no such file, or not a file
    "empty",  # 0 bytes
    "broken",  # not media of an accepted format, or nothing of it can be decoded
    "no_audio",  # no sound stream, or one without a sample
    "no_video",  # no picture stream (cover art is none), or one without a frame
    "silent",  # the sound never changes, so its picture would be one colour
    "too_large",  # a picture of more than MAX_PIXELS, or more memory than decoding may take
    "timed_out",  # decoding took longer than a file may take
    "crashed",  # the decoder's process died
    "no_face",  # there is an array, but of the middle of the picture: no face was found in it
]
"""Why a file has no view, or not the one that was asked for."""

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
    except (OSError, ValueError) as error:
        # A link in a circle, or a name that no file can have: too long, or with a NUL (ValueError).
        nowhere = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)
        if isinstance(error, ValueError) or error.errno in nowhere:
            raise failure("missing", "the file does not exist") from error
        raise failure("broken", f"the file cannot be read: {said_by(error)}") from error
    # A pipe or a device could be read for ever.
    if not stat.S_ISREG(found.st_mode):
        raise failure("missing", "the path is not that of a file")
    if not found.st_size:
        raise failure("empty", "the file is empty (0 bytes)")


@contextmanager
def opened(path: Path, *, for_sound: bool = False) -> Iterator[InputContainer]:
    """Open the sound or video file `path`.

    Args:
        path: The file.
        for_sound: Of an MP4, whose header says all that is asked here, do not decode a picture to
            learn more of the video: half of the time that a sound takes.

    Raises:
        MediaError: missing, empty or broken; an FFmpeg error in the body is broken too.
    """
    check_file(path)
    try:
        with _opened_for_sound(path) if for_sound else _opened(path) as container:
            yield container
    except (av.FFmpegError, OSError) as error:
        raise failure("broken", f"the file cannot be decoded: {said_by(error)}") from error


def _opened(path: Path, **options: str) -> InputContainer:
    # "file:" keeps a name such as "concat:a|b" a name.
    return av.open(
        f"file:{path}",
        options={"format_whitelist": _FORMATS, **options},
        metadata_errors="replace",
    )


def _opened_for_sound(path: Path) -> InputContainer:
    if not _is_mp4(path):
        return _opened(path)
    container = _opened(path, codec_whitelist=_sound_decoders())
    if all(
        stream.codec_context and stream.codec_context.width for stream in container.streams.video
    ):
        return container
    # The header does not say it all: what a file says of itself must not depend on who asks.
    container.close()
    return _opened(path)


def _is_mp4(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(8)[4:] == b"ftyp"


@cache
def _sound_decoders() -> str:
    decoders = (av.Codec(name, "r") for name in sorted(av.codecs_available) if _decodes(name))
    return ",".join(codec.name for codec in decoders if codec.type == "audio")


def _decodes(name: str) -> bool:
    try:
        av.Codec(name, "r")
    except ValueError:  # it encodes only
        return False
    return True


class MediaReader(ABC):
    """Takes the decoded frames of one stream of a file.

    Args:
        stream: The stream.
    """

    def __init__(self, stream: AudioStream | VideoStream) -> None:
        self.stream = stream
        self.error: MediaError | None = None
        """Why nothing can come of it any more."""

    @property
    @abstractmethod
    def is_full(self) -> bool:
        """Whether no further frame is wanted."""

    def decode(self, packet: "Packet[Any] | None") -> Sequence[Any]:
        """Return the frames that a packet of the stream completes; None: those held back."""
        return self.stream.decode(packet)

    @abstractmethod
    def take(self, frame: Any) -> None:
        """Take the next frame; a MediaError ends this reader, not its file."""


def feed(container: InputContainer, readers: Sequence[MediaReader]) -> None:
    """Decode the streams of `readers` in one pass over the file, and no other stream.

    A packet that cannot be decoded is passed over, as FFmpeg's own program does: a scratch in a
    file does not lose the rest of it. A stream of which nothing at all can be decoded is `broken`.
    """
    hungry = {reader.stream.index: reader for reader in readers}
    for stream in container.streams:
        if stream.index not in hungry:
            stream.discard = Discard.all
        else:
            # Files are decoded in parallel, one a process.
            stream.codec_context.thread_count = 1
    barren: dict[int, str] = {}
    fed: set[int] = set()
    for index, packet in packets(container, [reader.stream for reader in readers]):
        reader = hungry.get(index)
        if reader is None:
            continue
        try:
            for frame in reader.decode(packet):
                reader.take(frame)
                fed.add(index)
                if reader.is_full:
                    break
        except MediaError as error:
            reader.error = error
        except av.FFmpegError as error:
            barren.setdefault(index, said_by(error))
        if reader.error or reader.is_full:
            reader.stream.discard = Discard.all
            del hungry[index]
            if not hungry:
                break
    for reader in readers:
        said = barren.get(reader.stream.index)
        if said and reader.stream.index not in fed:
            reader.error = failure("broken", f"the file cannot be decoded: {said}")


def packets(
    container: InputContainer, streams: "Sequence[AudioStream | VideoStream]"
) -> "Iterator[tuple[int, Packet[Any] | None]]":
    """Yield the packets of `streams` with the index of each one's stream.

    Each stream ends with an empty packet, or None where the file breaks off: it tells the decoder
    to give what it still holds. A stream that turns up after the file was opened is left out.
    """
    going_on = {stream.index for stream in streams}
    demuxed = container.demux(*streams)
    while True:
        try:
            packet = next(demuxed)
        except (StopIteration, av.FFmpegError):
            break
        except IndexError:
            # PyAV ends every stream that there is by now, and knows but those there were at first.
            break
        index = packet.stream.index
        if not packet.size and packet.dts is None:
            going_on.discard(index)
        yield index, packet
    for index in sorted(going_on):
        yield index, None


def said_by(error: Exception) -> str:
    """Return what `error` says, without the file's path, as the end of a sentence."""
    said = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(said).split()).rstrip(".")
