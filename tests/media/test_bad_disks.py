"""Files that a disk or a network does not give: another try may end otherwise."""

import errno
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image as Pillow

from tests.media.clips import chirp, moving, write_media
from workbench.errors import MediaError
from workbench.media import image, streams
from workbench.media.decoders import read_any
from workbench.media.facts import image_facts
from workbench.media.frames import Frames
from workbench.media.image import Image
from workbench.media.mel import Mel
from workbench.media.source import require_every_byte
from workbench.media.view import View

VIEWS: dict[str, View] = {
    "mel": Mel(image_px=64),
    "frames": Frames(num_frames=2, image_px=64),
}


class _Container:
    """A container whose packets end in an error of the disk after the first ten."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __enter__(self) -> "_Container":
        return self

    def __exit__(self, *raised: object) -> None:
        self._inner.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def demux(self, *those: Any) -> Iterator[Any]:
        for _, packet in zip(range(10), self._inner.demux(*those), strict=False):
            yield packet
        raise av.FFmpegError(errno.EIO, "Input/output error")


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "a.mp4"
    write_media(path, sound=chirp(2.0), pictures=moving(50))
    return path


def let_packets_fail(monkeypatch: pytest.MonkeyPatch, *, first: int, then: int) -> None:
    """Let the packets of the containers with the numbers `first` to `then - 1` end in an error."""
    opened, numbers = streams._opened, iter(range(1_000))

    def failing(path: Path, **options: str) -> Any:
        found = opened(path, **options)
        return _Container(found) if first <= next(numbers) < then else found

    monkeypatch.setattr(streams, "_opened", failing)


def said(path: Path, views: dict[str, View]) -> set[tuple[str, str]]:
    made = read_any(path, views)
    return {(one.status, str(one) if isinstance(one, MediaError) else "") for one in made.values()}


def test_an_error_that_comes_once_ends_no_file(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    let_packets_fail(monkeypatch, first=0, then=1)
    assert said(clip, {"mel": VIEWS["mel"]}) == {
        ("unreadable", "the file could not be read for once: Input/output error")
    }


def test_an_error_that_comes_each_time_is_the_end_of_a_file_that_can_be_read(
    clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # FFmpeg's readers of some formats say so of a file that is cut off.
    let_packets_fail(monkeypatch, first=0, then=1_000)
    assert said(clip, VIEWS) == {("ok", "")}


def test_an_error_in_the_middle_of_a_file_that_cannot_be_read_is_not_its_end(
    clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_packets_fail(monkeypatch, first=0, then=1_000)
    monkeypatch.setattr(Path, "open", on_a_bad_disk(good_bytes=1 << 10))
    assert said(clip, VIEWS) == {
        ("unreadable", "the file cannot be read: Input/output error"),
    }


def test_a_file_that_ffmpeg_cannot_open_is_broken_only_if_it_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(bytes(4_096))
    [(status, _)] = said(path, VIEWS)
    assert status == "broken"
    monkeypatch.setattr(Path, "open", on_a_bad_disk(good_bytes=1 << 10))
    [(status, _)] = said(path, VIEWS)
    assert status == "unreadable"


class _File(io.BytesIO):
    """Gives so many bytes and then an error."""

    def __init__(self, data: bytes, good_bytes: int) -> None:
        super().__init__(data)
        self._good_bytes = good_bytes

    def read(self, size: int | None = -1, /) -> bytes:
        here = self.tell()
        end = len(self.getbuffer()) if size is None or size < 0 else here + size
        if min(end, len(self.getbuffer())) > self._good_bytes:
            raise OSError(errno.EIO, "Input/output error")
        return super().read(size)


def on_a_bad_disk(*, good_bytes: int) -> Any:
    """Return what opens files in the place of `Path.open`."""

    def opened(path: Path, mode: str = "r", *_: Any, **__: Any) -> Any:
        assert mode == "rb"
        with io.open(path, "rb") as file:  # noqa: UP020 (builtins' own is what pathlib calls)
            return _File(file.read(), good_bytes)

    return opened


@pytest.mark.parametrize("good_bytes", [0, 64, 20_000])
@pytest.mark.parametrize("view", [Image(image_px=16), Frames(num_frames=1, image_px=16)])
def test_a_picture_that_a_disk_does_not_give_is_not_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, view: View, good_bytes: int
) -> None:
    path = tmp_path / "a.png"
    noise = np.random.default_rng(0).integers(0, 256, (100, 100, 3), dtype=np.uint8)
    Pillow.fromarray(noise).save(path)
    assert said(path, {"v": view}) == {("ok", "")}
    monkeypatch.setattr(Path, "open", on_a_bad_disk(good_bytes=good_bytes))
    assert said(path, {"v": view}) == {
        ("unreadable", "the file cannot be read: Input/output error")
    }


def test_what_a_library_kept_to_itself_is_read_once_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture, sound = tmp_path / "a.png", tmp_path / "a.wav"
    Pillow.fromarray(np.zeros((9, 9, 3), np.uint8)).save(picture)
    write_media(sound, sound=chirp(1.0))
    for place, name, view in (
        (image, "opened_still", Image(image_px=16)),
        (streams, "_opened", VIEWS["mel"]),
    ):
        real, left = getattr(place, name), [1]

        def once(*args: Any, real: Any = real, left: list[int] = left, **named: Any) -> Any:
            if left[0]:
                left[0] -= 1
                raise OSError("it is none of mine")
            return real(*args, **named)

        monkeypatch.setattr(place, name, once)
        assert said(picture if place is image else sound, {"v": view}) == {("ok", "")}
        assert left == [0]


def test_facts_of_a_picture_that_cannot_be_read_are_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.png"
    Pillow.fromarray(np.zeros((9, 9, 3), np.uint8)).save(path)
    assert image_facts(path).width == 9

    def failing(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Pillow, "open", failing)
    with pytest.raises(MediaError, match="cannot be read: Input/output error"):
        image_facts(path)


def test_a_file_is_read_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    path.write_bytes(bytes(3_000_000))
    require_every_byte(path)
    monkeypatch.setattr(Path, "open", on_a_bad_disk(good_bytes=2_999_999))
    with pytest.raises(MediaError, match="cannot be read: Input/output error") as raised:
        require_every_byte(path)
    assert raised.value.status == "unreadable"
