"""What holds for every media file before it is decoded."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest

from tests.media.clips import Pictures, chirp, write_media
from workbench.errors import MediaError
from workbench.media.frames import Frames
from workbench.media.mel import Mel
from workbench.media.reading import read_media
from workbench.media.streams import packets
from workbench.media.view import Made, View

VIEWS: dict[str, View] = {
    "mel": Mel(num_mels=32, image_px=32),
    "frames": Frames(num_frames=3, image_px=16),
    "nearest": Frames(num_frames=3, image_px=16, sampling="nearest"),
}


def noisy(num_frames: int) -> Pictures:
    """Return frames of 160 x 128 that no codec makes much smaller, each of another mean."""
    random = np.random.default_rng(0)
    noise = random.integers(-60, 61, (num_frames, 128, 160, 3))
    return (noise + np.linspace(60, 190, num_frames)[:, None, None, None]).astype(np.uint8)


def write_long(path: Path, codec: str) -> Path:
    """Write a video of more bytes than FFmpeg looks at to find the streams of a file."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 128, "yuv420p"
        stream.codec_context.options = {"qmin": "1", "qmax": "1", "g": "1"}
        for picture in noisy(290):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode(None))
    assert path.stat().st_size > 5_000_000
    return path


@pytest.mark.parametrize(
    ("suffix", "codec", "sound_codec", "header"),
    [(".mpg", "mpeg2video", "mp2", 0), (".flv", "flv", "libmp3lame", 13)],
)
def test_a_stream_that_turns_up_while_the_file_is_read_is_left_out(
    suffix: str, codec: str, sound_codec: str, header: int, tmp_path: Path
) -> None:
    path = write_long(tmp_path / f"x{suffix}", codec)
    sound = write_media(tmp_path / f"sound{suffix}", sound=chirp(1.0), sound_codec=sound_codec)
    data = path.read_bytes()
    # At the end of a FLV; in an MPEG, whose end is looked at too, between two packs in the middle.
    at = data.index(b"\0\0\1\xba", 5_100_000) if suffix == ".mpg" else len(data)
    path.write_bytes(data[:at] + sound.read_bytes()[header:] + data[at:])
    with av.open(str(path)) as container:
        assert len(container.streams) == 1  # that of the sound is not known yet
    made = read_media(path, VIEWS, loudness=True).made
    assert isinstance(made["mel"], MediaError)
    assert made["mel"].status == "no_audio"
    for name in ("frames", "nearest"):
        frames = made[name]
        assert isinstance(frames, Made)
        # In the middle of thirds of what rises from 60 to 190: none is lost, the last included.
        levels = frames.array[0].mean(axis=(1, 2, 3))
        assert levels == pytest.approx([82, 125, 168], abs=4)


def test_where_demuxing_fails_the_decoders_still_give_what_they_hold(clip: Path) -> None:
    with av.open(str(clip)) as container:
        video, sound = container.streams.video[0], container.streams.audio[0]

        def demux(*streams: Any) -> Iterator[Any]:
            for packet in container.demux(*streams):
                yield packet
                if packet.stream is video and not packet.size:  # its end
                    raise IndexError("list index out of range")

        broken: Any = SimpleNamespace(demux=demux)
        found = list(packets(broken, [video, sound]))
        # The video ended; the sound did not, and is ended here, once.
        assert [index for index, packet in found if packet is None] == [sound.index]
        assert found[-1] == (sound.index, None)
        ended = [index for index, packet in found if packet and not packet.size]
        assert ended == [video.index]
