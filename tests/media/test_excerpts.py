import io
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from tests.media.clips import Pictures, Sound, chirp, moving, tone, write_media
from tests.media.encoders import CUT_OFF, FULL, encode_by
from workbench.errors import MediaError
from workbench.media.excerpts import DURATION_S, SIDE_PX, STILL_PX, Excerpt, excerpt, within_side


def streams(found: Excerpt) -> dict[str, float]:
    """The seconds of each stream."""
    with av.open(io.BytesIO(found.data)) as container:
        return {s.type: float((s.duration or 0) * (s.time_base or 0)) for s in container.streams}


def test_a_video_is_cut_and_made_small(tmp_path: Path) -> None:
    pictures = moving(75, width=640, height=360)
    path = write_media(tmp_path / "a.mp4", sound=chirp(3.0), pictures=pictures)
    found = excerpt(path)
    assert found.mime == "video/mp4"
    assert len(found.data) < 100_000
    seconds = streams(found)
    assert seconds.keys() == {"video", "audio"}
    assert seconds["video"] == pytest.approx(DURATION_S, abs=0.1)
    assert seconds["audio"] == pytest.approx(DURATION_S, abs=0.1)
    with av.open(io.BytesIO(found.data)) as container:
        context = container.streams.video[0].codec_context
        assert (context.width, context.height) == (SIDE_PX, 90)
        assert context.name == "h264"


def test_the_same_file_gives_the_same_bytes(tmp_path: Path) -> None:
    path = write_media(tmp_path / "a.mp4", sound=chirp(1.0), pictures=moving(10))
    assert excerpt(path) == excerpt(path)


def test_a_short_mute_video_stays_short(tmp_path: Path) -> None:
    seconds = streams(excerpt(write_media(tmp_path / "a.mp4", pictures=moving(10))))
    assert seconds.keys() == {"video"}
    assert 0.2 < seconds["video"] < 0.6


def test_a_sound_is_heard_as_it_was(tmp_path: Path) -> None:
    found = excerpt(write_media(tmp_path / "a.m4a", sound=tone(440, 3.0)))
    assert found.mime == "audio/mp4"
    with av.open(io.BytesIO(found.data)) as container:
        stream = container.streams.audio[0]
        rate_hz = stream.rate
        sound = np.concatenate([f.to_ndarray()[0] for f in container.decode(stream)])
    assert len(sound) / rate_hz == pytest.approx(DURATION_S, abs=0.1)
    loudest = np.abs(np.fft.rfft(sound)).argmax() * rate_hz / len(sound)
    assert loudest == pytest.approx(440, abs=2)


def test_a_picture_stays_a_picture(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"  # the content counts, not the name
    Image.fromarray(moving(1, width=800, height=400)[0]).save(path, "PNG")
    found = excerpt(path)
    assert found.mime == "image/jpeg"
    assert Image.open(io.BytesIO(found.data)).size == (STILL_PX, STILL_PX // 2)


@pytest.mark.parametrize(
    ("size", "wanted"), [((320, 100), (160, 50)), ((101, 99), (100, 98)), ((9, 900), (2, 160))]
)
def test_shrinking_keeps_the_shape_and_enlarges_nothing(
    size: tuple[int, int], wanted: tuple[int, int]
) -> None:
    width, height = size
    found = within_side(np.zeros((height, width, 3), np.uint8), 160, even=True)
    assert found.shape[1::-1] == wanted


def test_what_cannot_be_shown_says_why(tmp_path: Path) -> None:
    (tmp_path / "noise.mp4").write_bytes(bytes(range(256)) * 8)
    for name, status in (("gone.mp4", "missing"), ("noise.mp4", "broken")):
        with pytest.raises(MediaError) as raised:
            excerpt(tmp_path / name)
        assert raised.value.status == status


@pytest.mark.parametrize(
    ("sound", "pictures"),
    [(chirp(1.0), None), (None, moving(10)), (chirp(1.0), moving(10))],
    ids=["sound", "mute", "both"],
)
def test_half_of_it_is_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sound: Sound | None, pictures: Pictures | None
) -> None:
    path = write_media(tmp_path / "a.mp4", sound=sound, pictures=pictures)
    encode_by(CUT_OFF, tmp_path, monkeypatch)
    with pytest.raises(MediaError, match="the encoder died on this file"):
        excerpt(path)
    encode_by(FULL, tmp_path, monkeypatch)
    with pytest.raises(OSError, match="No space left on device"):
        excerpt(path)
