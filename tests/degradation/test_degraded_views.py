import errno
import re
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from tests.media.clips import chirp, greys, moving, write_media
from tests.media.encoders import CUT_OFF, CUT_OFF_WITHOUT_A_WORD, FULL, FULL_AT_ITS_CLOSE, encode_by
from workbench.data.degraded import copies_for
from workbench.degradation import recoding
from workbench.degradation.degradations import DEGRADATIONS
from workbench.degradation.degraded_views import read_copies
from workbench.degradation.pictures import as_jpeg
from workbench.degradation.recoding import Codec, write_as_sent, write_h264
from workbench.errors import ConfigError, MediaError
from workbench.media.frames import Frames
from workbench.media.image import Image
from workbench.media.mel import Mel
from workbench.media.reading import read_media
from workbench.media.square import square
from workbench.media.view import Array, View

FRAMES, MEL = Frames(num_frames=4, image_px=32), Mel()


def arrays(path: Path, **wanted: tuple[str, View]) -> dict[str, Array]:
    made = read_copies(path, wanted).made
    failed = [each for each in made.values() if isinstance(each, MediaError)]
    assert failed == []
    return {name: each.array for name, each in made.items() if not isinstance(each, MediaError)}


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    return write_media(path, sound=chirp(1.0), pictures=moving(25))


def test_facts_are_told_of_a_file_whose_views_are_all_stored(clip: Path) -> None:
    lost = read_copies(clip, {}, loudness=True).facts
    made = read_copies(clip, {"mel": ("", MEL), "frames": ("", FRAMES)}, loudness=True)
    assert lost == made.facts
    assert lost.video_codec and lost.loudness_db


def test_one_pass_has_the_file_and_its_copies(clip: Path) -> None:
    made = arrays(
        clip,
        frames=("", FRAMES),
        mel=("", MEL),
        worse_frames=("jpeg30", FRAMES),
        worse_mel=("telephone", MEL),
    )
    itself = read_media(clip, {"frames": FRAMES, "mel": MEL}).made
    for name in ("frames", "mel"):
        one = itself[name]
        assert not isinstance(one, MediaError)
        np.testing.assert_array_equal(made[name], one.array)
        assert (made[f"worse_{name}"] != made[name]).any()


def test_a_copy_has_the_same_frames_each_of_them_degraded(tmp_path: Path) -> None:
    path = write_media(tmp_path / "greys.mp4", pictures=greys(25))
    made = arrays(path, itself=("", FRAMES), noise=("picture-noise", FRAMES), h264=("h264", FRAMES))
    levels = [made[name].mean(axis=(0, 2, 3, 4)) for name in ("itself", "noise", "h264")]
    assert np.ptp(levels[0]) > 100
    np.testing.assert_allclose(levels[1], levels[0], atol=2)
    np.testing.assert_allclose(levels[2], levels[0], atol=4)


def test_a_still_image_is_degraded_before_it_is_made_small(tmp_path: Path) -> None:
    picture, path = moving(1)[0], tmp_path / "still.png"
    cv2.imwrite(str(path), picture[..., ::-1])
    made = arrays(path, image=("jpeg30", Image(image_px=24)), frames=("jpeg30", FRAMES))
    expected = square(as_jpeg(picture, 30), 24)
    np.testing.assert_array_equal(made["image"][0, 0], expected)
    np.testing.assert_array_equal(made["frames"][0, 0], square(as_jpeg(picture, 30), 32))


def test_h264_is_smaller_has_every_frame_and_is_the_same_twice(tmp_path: Path) -> None:
    pictures = moving(20, width=67, height=49)  # H.264 has even sides alone
    source = write_media(tmp_path / "source.avi", pictures=pictures, video_codec="ffv1")
    files = [tmp_path / "one.mp4", tmp_path / "two.mp4"]
    for file in files:
        write_h264(source, file, crf=32)
    assert files[0].read_bytes() == files[1].read_bytes()
    assert files[0].stat().st_size < source.stat().st_size / 4
    with av.open(str(files[0])) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) == 20
    assert frames[0].shape == (50, 68, 3)
    error = np.abs(np.stack(frames)[:, :49, :67].astype(float) - pictures).mean()
    assert 2 < error < 40


@pytest.mark.parametrize(("codec", "least_px"), [("libx264", 16), ("libx265", 48)])
def test_a_sent_copy_is_smaller_slower_and_the_same_twice(
    tmp_path: Path, codec: Codec, least_px: int
) -> None:
    pictures = moving(40, width=256, height=192)
    source = write_media(tmp_path / "source.mp4", pictures=pictures, fps=60)
    sizes, counts = set(), set()
    for seed in (0, 1):
        files = [tmp_path / f"{seed}{name}.mp4" for name in ("one", "two")]
        for file in files:
            write_as_sent(source, file, np.random.default_rng(seed), codec=codec)
        assert files[0].read_bytes() == files[1].read_bytes()
        with av.open(str(files[0])) as container:
            assert (
                container.streams.video[0].codec_context.name
                == {
                    "libx264": "h264",
                    "libx265": "hevc",
                }[codec]
            )
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        # 15 to 30 of 60 frames a second, a quarter to all of 256 x 192; x265: no side under 48.
        assert 10 <= len(frames) <= 20
        assert least_px <= frames[0].shape[0] <= 192 and least_px <= frames[0].shape[1] <= 256
        counts.add(len(frames))
        sizes.add(frames[0].shape)
    assert len(sizes) == len(counts) == 2


def test_a_small_video_is_sent_as_h265_to_its_end_whatever_its_size(tmp_path: Path) -> None:
    # Of pictures of 40 x 32 x265 wrote past its memory, and died of it.
    source = write_media(tmp_path / "source.mp4", pictures=moving(8, width=40, height=32))
    write_as_sent(source, tmp_path / "sent.mp4", np.random.default_rng(0), codec="libx265")
    with av.open(str(tmp_path / "sent.mp4")) as container:
        assert {(frame.width, frame.height) for frame in container.decode(video=0)} == {(48, 48)}


@pytest.mark.parametrize(
    ("copy", "script"),
    [
        *[(copy, CUT_OFF) for copy in ("mp3", "g711", "h264")],
        ("h264", CUT_OFF_WITHOUT_A_WORD),  # a sound as short as this one waits in the pipe
    ],
)
def test_an_encoder_that_dies_is_no_broken_file_and_half_a_copy_is_none(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, copy: str, script: str
) -> None:
    encode_by(script, tmp_path, monkeypatch)
    made = read_copies(clip, {"itself": ("", MEL), "copy": (copy, of(copy))}).made
    told = made["copy"]
    assert isinstance(told, MediaError)
    assert re.fullmatch(r"the encoder died on this file \(exit code [01]\)", str(told))
    assert told.status == "crashed"  # another try can end otherwise
    assert not isinstance(made["itself"], MediaError)


@pytest.mark.parametrize("copy", ["mp3", "g711", "h264"])
@pytest.mark.parametrize(
    ("script", "is_full"), [(CUT_OFF, True), (FULL, False), (FULL_AT_ITS_CLOSE, False)]
)
def test_a_full_disk_is_no_fault_of_the_file(
    clip: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    copy: str,
    script: str,
    is_full: bool,
) -> None:
    encode_by(script, tmp_path, monkeypatch)
    monkeypatch.setattr("workbench.media.ffmpeg.no_space", lambda folder: is_full)
    monkeypatch.setattr("workbench.media.temporary.gettempdir", lambda: "small")
    with pytest.raises(OSError, match="'small'") as told:
        read_copies(clip, {"itself": ("", MEL), "copy": (copy, of(copy))})
    assert told.value.errno == errno.ENOSPC


def test_a_changed_picture_for_which_there_is_no_space_is_no_fault_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    cv2.imwrite(str(tmp_path / "a.png"), moving(1)[0])
    monkeypatch.setattr(Path, "write_bytes", full)
    monkeypatch.setattr("workbench.media.temporary.gettempdir", lambda: "small")
    with pytest.raises(OSError, match="'small'"):
        read_copies(tmp_path / "a.png", {"copy": ("jpeg30", Image())})


def of(copy: str) -> View:
    """Return a view that reads a copy."""
    return FRAMES if copy == "h264" else MEL


def test_h265_is_refused_where_it_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recoding, "_encoders", lambda program: "libx264")
    with pytest.raises(ConfigError, match="has no libx265"):
        copies_for(["degraded.sent-h265"], {"frames": FRAMES})
    assert copies_for(["degraded.sent-h264"], {"frames": FRAMES}) == ("sent-h264",)
    assert copies_for(["degraded.sent-h265"], {"mel": MEL}) == ()


def test_amr_is_refused_where_it_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recoding, "_encoders", lambda program: "pcm_alaw g726")
    with pytest.raises(ConfigError, match=r"AMR-NB .* no libopencore_amrnb.* copies\.phoned"):
        copies_for(["degraded.amr"], {"mel": MEL})
    assert copies_for(["degraded.g726"], {"mel": MEL}) == ("g726",)
    assert copies_for(["degraded.amr"], {"frames": FRAMES}) == ()


def test_a_change_of_pixels_comes_before_the_video_is_written_anew(tmp_path: Path) -> None:
    path = write_media(tmp_path / "greys.mp4", pictures=greys(25))
    read = Frames(num_frames=4, image_px=16)
    made = arrays(path, noise=("picture-noise", read), both=("picture-noise_h264", read))
    spread = {name: array.astype(float).std(axis=(2, 3)).mean() for name, array in made.items()}
    assert 0 < spread["both"] < 0.8 * spread["noise"]  # it was smoothed by the codec


def test_of_an_odd_file_every_copy_has_an_outcome(tmp_path: Path) -> None:
    path = tmp_path / "odd.mp4"
    path.write_bytes(b"no clip")
    wanted: dict[str, tuple[str, View]] = {
        "noise": ("picture-noise", FRAMES),
        "h264": ("h264", FRAMES),
        "room": ("room", MEL),
    }
    made = read_copies(path, wanted).made
    assert {name: getattr(each, "status", "") for name, each in made.items()} == dict.fromkeys(
        wanted, "broken"
    )


def test_a_degradation_touches_what_reads_it_and_no_more() -> None:
    touched = {
        name: [type(view).__name__ for view in (FRAMES, Image(), MEL) if each.touches(view)]
        for name, each in DEGRADATIONS.items()
    }
    assert touched["blur"] == ["Frames", "Image"]
    assert touched["h264"] == touched["sent-h265"] == ["Frames"]
    assert touched["eyes"] == ["Frames", "Image"]
    assert touched["trimmed"] == ["Mel"]
    assert touched["room"] == ["Mel"]


def test_every_copy_of_a_content_is_a_content_of_its_own() -> None:
    names = {each.content_of(content) for each in DEGRADATIONS.values() for content in ("a", "b")}
    assert len(names) == 2 * len(DEGRADATIONS)
    assert {len(name) for name in names} == {64}
