"""The streams of a sound or video file: how it is opened and read once for all views."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.stream import Discard
from av.video.stream import VideoStream

from workbench.errors import SPACE, MediaError
from workbench.media.source import check_file, failure, is_passing, require_every_byte, said_by
from workbench.media.still import is_still, still_format
from workbench.media.view import MadeOrNot, View, ViewReader

# Files come from strangers: playlists and lists of files (hls, dash, concat, image2), which name
# other files for FFmpeg to open, are left out.
_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,asf,mpegts,mpeg,ogg,"
    "wav,w64,aiff,au,caf,mp3,aac,flac,ac3,eac3,amr,gif,h264,hevc,mpegvideo,m4v,ivf"
)


@contextmanager
def opened(path: Path, *, for_sound: bool = False) -> Iterator[InputContainer]:
    """Open the sound or video file `path`.

    Args:
        path: The file.
        for_sound: Of an MP4, whose header says all that is asked here, do not decode a picture to
            learn more of the video: half of the time that a sound takes.

    Raises:
        MediaError: missing, empty, unreadable or broken; an FFmpeg error in the body is broken too.
        OSError: the body found the disk full, which is no fault of the file.
    """
    check_file(path)
    begin = _opened_for_sound if for_sound else _opened
    try:
        container = begin(path)
    except (av.FFmpegError, OSError):
        require_every_byte(path)  # what FFmpeg lacks of a file may be what the disk did not give
        try:
            container = begin(path)
        except (av.FFmpegError, OSError) as error:
            raise _broken(error) from error
    try:
        with container:
            yield container
    except (av.FFmpegError, OSError) as error:
        if error.errno in SPACE:
            raise
        raise _broken(error) from error


def _broken(error: Exception) -> MediaError:
    return failure("broken", f"the file cannot be decoded: {said_by(error)}")


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

    Raises:
        MediaError: unreadable.
    """
    going_on = {stream.index for stream in streams}
    demuxed = container.demux(*streams)
    while True:
        try:
            packet = next(demuxed)
        except StopIteration:
            break
        except av.FFmpegError as error:
            if is_passing(error):
                _require_same_end(container, error)
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


def _require_same_end(container: InputContainer, error: av.FFmpegError) -> None:
    """Raise MediaError (unreadable) unless a file ends with `error` whenever it is read.

    FFmpeg says by the numbers of failing disks that a file is cut off, too.
    """
    path = Path(container.name.removeprefix("file:"))
    require_every_byte(path)
    ended: av.FFmpegError | None = None
    try:
        with _opened(path) as again:
            for _ in again.demux():
                pass
    except IndexError:  # see `packets`
        pass
    except av.FFmpegError as other:
        ended = other
    if ended is None or ended.errno != error.errno:
        raise failure("unreadable", f"the file could not be read for once: {said_by(error)}")


class StreamViews(ABC):
    """Views of one stream of a file: of its sound, or of its pictures.

    Args:
        views: The views by name.
    """

    needs_pictures: bool
    """Whether a picture is decoded, or where the pictures begin must be known."""

    def __init__(self, views: Mapping[str, Any]) -> None:
        self.views = views

    @abstractmethod
    def begin(self, container: InputContainer) -> MediaReader | None:
        """Return what takes the frames while the file is read; none where it cannot or need not."""

    @abstractmethod
    def made(self, path: Path) -> MadeOrNot:
        """Return the views, now that the file was read."""

    @abstractmethod
    def of_still(self, path: Path) -> MadeOrNot:
        """Return the views of a still picture."""


@dataclass(frozen=True)
class Onlooker:
    """Asks of a file's streams what no view does."""

    also: tuple[type[StreamViews], ...]
    """Streams to decode even where there is no view of them."""

    see: Callable[[InputContainer, Sequence[StreamViews]], None]
    """Called with a file and its streams when they have been read."""


def read_streams(
    path: Path, views: Mapping[str, "StreamView"], onlooker: Onlooker | None
) -> MadeOrNot:
    """Decode a file once into every view of its streams."""
    kinds = [*(view.streams for view in views.values()), *(onlooker.also if onlooker else ())]
    parts = [
        kind({name: view for name, view in views.items() if view.streams is kind})
        for kind in sorted(set(kinds), key=lambda kind: kind.__name__)
    ]
    try:
        check_file(path)
        if still_format(path):
            raise failure("broken", "it is a still image")
        for_sound = not any(part.needs_pictures for part in parts)
        with opened(path, for_sound=for_sound) as container:
            made = _read_parts(path, container, parts)
            if onlooker:
                onlooker.see(container, parts)
            return made
    except MediaError as error:
        if error.status == "broken" and is_still(path):
            return _united(part.of_still(path) for part in parts)
        return dict.fromkeys(views, error)


def _read_parts(path: Path, container: InputContainer, parts: Sequence[StreamViews]) -> MadeOrNot:
    if not any(s.codec_context for s in (*container.streams.audio, *container.streams.video)):
        raise failure("broken", "it has neither sound nor pictures that can be decoded")
    readers = [part.begin(container) for part in parts]
    feed(container, [reader for reader in readers if reader])
    return _united(part.made(path) for part in parts)


def _united(made: Iterable[MadeOrNot]) -> MadeOrNot:
    return {name: one for of_part in made for name, one in of_part.items()}


class StreamView(View):
    """A view of a stream of its file."""

    streams: ClassVar[type[StreamViews]]
    """What makes all such views of a file."""

    reader: ClassVar[ViewReader] = staticmethod(read_streams)
