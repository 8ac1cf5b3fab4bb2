import csv
import math
import shutil
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import rankdata

from workbench.demo.build import is_complete, make_demo
from workbench.demo.clip import make_clip
from workbench.demo.face import SIZE_PX, DrawnFace, draw_face
from workbench.demo.picture import FPS, FrameStack, Poses, draw_scene, film
from workbench.demo.picture_fakes import grow, self_blend, swap_patch
from workbench.demo.plan import UNSEEN_GENERATOR, Split, deal
from workbench.demo.sound import (
    DEMO_RATE_HZ,
    Samples,
    draw_room,
    draw_voice,
    istft,
    record,
    reverberate,
    rms,
    speak,
    stft,
)
from workbench.demo.sound_fakes import splice, vocode
from workbench.errors import DataError

FULL: dict[Split, int] = {"train": 300, "val": 150, "test": 150}
SIZES = {"num_train": 24, "num_val": 12, "num_test": 12}
SMALL = {"num_train": 2, "num_val": 2, "num_test": 2}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("demo") / "data"
    make_demo(out, **SIZES, jobs=2)
    return out


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clips a split. Copy it."""
    out = tmp_path_factory.mktemp("small") / "data"
    make_demo(out, **SMALL, jobs=1)
    return out


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def auc(target: NDArray[np.int64], score: NDArray[np.float64]) -> float:
    fakes = int(target.sum())
    wins = rankdata(score)[target == 1].sum() - fakes * (fakes + 1) / 2
    return float(wins / (fakes * (len(target) - fakes)))


def decoded(path: Path) -> tuple[list[FrameStack], Samples, float]:
    """Return the frames, the sound and the length in seconds of a clip."""
    frames: list[FrameStack] = []
    sound: list[Samples] = []
    with av.open(str(path)) as file:
        duration_s = file.duration / av.time_base
        for part in file.decode():
            if isinstance(part, av.VideoFrame):
                frames.append(part.to_ndarray(format="rgb24"))
            else:
                sound.append(part.to_ndarray()[0])
    return frames, np.concatenate(sound), duration_s


def shortcuts(out: Path, split: str) -> dict[str, float]:
    """Return the AUC of what a file tells without being looked at or listened to."""
    columns = defaultdict(list)
    chosen = [row for row in rows(out / "private/sources.csv") if row["split"] == split]
    for row in chosen:
        path = out / f"{split}set" / row["video_name"]
        _, sound, duration_s = decoded(path)
        columns["size"].append(float(path.stat().st_size))
        columns["duration"].append(duration_s)
        columns["loudness"].append(20 * math.log10(rms(sound)))
        columns["bitrate"].append(path.stat().st_size * 8 / duration_s)
    target = np.array([int(row["target"]) for row in chosen])
    return {name: auc(target, np.array(values)) for name, values in columns.items()}


def test_the_auc_of_four_scores_worked_by_hand() -> None:
    # Of the four pairs of a fake and a real, the fake is above in three.
    assert auc(np.array([0, 1, 0, 1]), np.array([0.1, 0.2, 0.3, 0.4])) == 0.75


# What is dealt


def test_half_of_each_split_is_fake_and_a_fake_is_forged_somewhere() -> None:
    clips = deal(FULL, 0)
    counts = Counter((clip.split, clip.target) for clip in clips)
    assert counts == {
        ("train", 0): 150,
        ("train", 1): 150,
        ("val", 0): 75,
        ("val", 1): 75,
        ("test", 0): 75,
        ("test", 1): 75,
    }
    for clip in clips:
        forged = {clip.picture_generator, clip.sound_generator} != {"real"}
        assert clip.target == int(forged)


def test_no_identity_is_in_two_splits() -> None:
    places = defaultdict(set)
    for clip in deal(FULL, 0):
        places[clip.identity_seed].add(clip.split)
    assert len(places) == 75 + 38 + 38
    assert all(len(splits) == 1 for splits in places.values())


def test_every_identity_is_as_often_real_as_fake() -> None:
    balance: Counter[str] = Counter()
    for clip in deal({"train": 80, "val": 40, "test": 40}, 0):
        balance[clip.identity] += 1 if clip.target else -1
    assert set(balance.values()) == {0}


def test_four_generators_are_known_and_one_is_in_the_test_split_only() -> None:
    used: defaultdict[str, set[str]] = defaultdict(set)
    for clip in deal(FULL, 0):
        used[clip.split] |= {clip.picture_generator, clip.sound_generator} - {"real"}
    assert used["train"] == used["val"]
    assert len(used["train"]) == 4
    assert used["test"] - used["train"] == {UNSEEN_GENERATOR}


def test_train_and_val_are_dealt_alike() -> None:
    shares: dict[str, dict[tuple[str, str], float]] = {"train": {}, "val": {}}
    counts = Counter(
        (clip.split, (clip.picture_generator, clip.sound_generator))
        for clip in deal({"train": 400, "val": 200, "test": 2}, 0)
        if clip.target and clip.split != "test"
    )
    for (split, kind), count in counts.items():
        shares[split][kind] = count / {"train": 200, "val": 100}[split]
    assert shares["train"].keys() == shares["val"].keys()
    for kind, share in shares["train"].items():
        assert shares["val"][kind] == pytest.approx(share, abs=0.015)


def test_a_real_clip_and_its_fake_twin_share_the_setting_and_nothing_said() -> None:
    clips = deal({"train": 40, "val": 2, "test": 2}, 0)
    for real, fake in zip(clips[::2], clips[1::2], strict=True):
        assert (real.target, fake.target) == (0, 1)
        assert real.setting_seed == fake.setting_seed
        assert real.clip_seed != fake.clip_seed


def test_the_order_of_the_names_does_not_tell_the_class() -> None:
    clips = sorted(deal(FULL, 0), key=lambda clip: clip.name)
    assert len({clip.name for clip in clips}) == 600
    target = np.array([clip.target for clip in clips])
    assert 0.42 < auc(target, np.arange(600.0)) < 0.58


def test_another_seed_deals_other_clips() -> None:
    names = [{clip.name for clip in deal(FULL, seed)} for seed in (0, 1)]
    assert not names[0] & names[1]


# What is written


def test_the_folder_is_laid_out_as_the_competition_lays_out_its_own(made: Path) -> None:
    for split, number in (("train", 24), ("val", 12), ("test", 12)):
        names = {path.name for path in (made / f"{split}set").iterdir()}
        assert len(names) == number
        sources = rows(made / "private/sources.csv")
        assert names == {row["video_name"] for row in sources if row["split"] == split}
    for split in ("train", "val"):
        labels = rows(made / f"{split}_label.txt")
        assert list(labels[0]) == ["video_name", "target"]
        assert {row["target"] for row in labels} == {"0", "1"}
    template = rows(made / "prediction.txt.csv")
    assert list(template[0]) == ["video_name", "y_pred"]
    assert {row["y_pred"] for row in template} == {"0.5"}
    assert {row["video_name"] for row in template} == {p.name for p in (made / "testset").iterdir()}


def test_the_labels_of_the_test_split_are_in_the_private_folder_only(made: Path) -> None:
    tests = rows(made / "private/test_label.csv")
    assert list(tests[0]) == [
        "video_name",
        "target",
        "picture_generator",
        "sound_generator",
        "identity",
    ]
    names = {row["video_name"].removesuffix(".mp4") for row in tests}
    for name in ("train_label.txt", "val_label.txt", "demo.json", "making.json", "metadata.csv"):
        text = (made / name).read_text()
        assert not any(test in text for test in names)


def test_a_clip_holds_h264_and_aac_of_one_length(made: Path) -> None:
    path = next((made / "trainset").iterdir())
    with av.open(str(path)) as file:
        video, audio = file.streams.video[0], file.streams.audio[0]
        assert video.codec_context.name == "h264"
        assert audio.codec_context.name == "aac"
        assert (video.width, video.height) == (SIZE_PX, SIZE_PX)
        assert audio.rate == DEMO_RATE_HZ
    frames, sound, duration_s = decoded(path)
    assert 40 <= len(frames) <= 60
    assert duration_s == pytest.approx(len(frames) / FPS, abs=0.1)
    assert len(sound) / DEMO_RATE_HZ == pytest.approx(len(frames) / FPS, abs=0.1)


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_the_file_does_not_give_the_class_away(made: Path, split: str) -> None:
    for name, value in shortcuts(made, split).items():
        assert 0.4 < value < 0.6, f"{name} of {split} has an AUC of {value:.3f}"


def test_a_finished_making_is_left_alone(made: Path) -> None:
    assert is_complete(made)
    before = {path: path.stat().st_mtime_ns for path in made.rglob("*")}
    make_demo(made, **SIZES)
    assert before == {path: path.stat().st_mtime_ns for path in made.rglob("*")}


@pytest.mark.slow
def test_one_process_makes_the_same_bytes_as_two(tmp_path: Path) -> None:
    for jobs in (1, 2):
        make_demo(tmp_path / str(jobs), num_train=4, num_val=2, num_test=2, jobs=jobs)
    files = [path.relative_to(tmp_path / "1") for path in (tmp_path / "1").rglob("*.*")]
    assert len(files) == 8 + 8  # clips; labels, metadata, template and what the making says
    for file in files:
        assert (tmp_path / "1" / file).read_bytes() == (tmp_path / "2" / file).read_bytes()


def test_a_stopped_making_is_continued_without_trust_in_half_files(
    small: Path, tmp_path: Path
) -> None:
    out = shutil.copytree(small, tmp_path / "data")
    first, second = sorted((out / "trainset").iterdir())
    whole = first.read_bytes()
    first.unlink()
    (out / "trainset/.part-1.mp4").write_bytes(whole[:100])
    (out / "demo.json").unlink()
    kept_ns = second.stat().st_mtime_ns
    assert not is_complete(out)

    make_demo(out, **SMALL, jobs=1)

    assert is_complete(out)
    assert sorted((out / "trainset").iterdir()) == [first, second]
    assert first.read_bytes() == whole
    assert second.stat().st_mtime_ns == kept_ns


def test_a_clip_that_went_missing_is_noticed(small: Path, tmp_path: Path) -> None:
    shutil.copytree(small, tmp_path / "data")
    next((tmp_path / "data/valset").iterdir()).unlink()
    assert not is_complete(tmp_path / "data")


def test_a_folder_of_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("dear reader")
    with pytest.raises(DataError, match="holds other files"):
        make_demo(tmp_path)


def test_demo_data_of_other_settings_is_refused(small: Path, tmp_path: Path) -> None:
    shutil.copytree(small, tmp_path / "data")
    with pytest.raises(DataError, match="other settings"):
        make_demo(tmp_path / "data", **SMALL, seed=1)


def test_a_split_of_one_class_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="val split would have 1 clips"):
        make_demo(tmp_path / "data", num_val=1)


def test_nothing_is_complete_where_nothing_is(tmp_path: Path) -> None:
    assert not is_complete(tmp_path / "absent")


def test_the_same_clip_has_the_same_bytes_each_time(tmp_path: Path) -> None:
    # x264 once gave other files of the same frames, in one of a few tries.
    clips = [clip for clip in deal(FULL, 0) if clip.target][:3]
    for clip in clips:
        for i in range(4):
            make_clip(clip, tmp_path / f"{i}.mp4")
        assert len({(tmp_path / f"{i}.mp4").read_bytes() for i in range(4)}) == 1


# What it sounds and looks like


def test_a_short_time_spectrum_is_turned_back_into_its_wave() -> None:
    wave = np.random.default_rng(0).standard_normal(5000)
    np.testing.assert_allclose(istft(stft(wave, 512, 128), 5000, 512, 128), wave, atol=1e-9)


def test_speech_has_the_pitch_of_its_voice() -> None:
    voice = draw_voice(np.random.default_rng(1)).model_copy(update={"intonation": 0.0})
    wave = speak(voice, np.random.default_rng(2), 50, FPS).wave
    echo = np.fft.irfft(np.abs(np.fft.rfft(wave, 2 * len(wave))) ** 2)
    lags = np.arange(len(wave))
    likely = (lags > DEMO_RATE_HZ / (voice.f0_hz * 1.4)) & (
        lags < DEMO_RATE_HZ / (voice.f0_hz * 0.7)
    )
    period = lags[likely][np.argmax(echo[: len(wave)][likely])]
    assert DEMO_RATE_HZ / period == pytest.approx(voice.f0_hz, rel=0.05)


def test_the_mouth_opens_when_the_voice_sounds() -> None:
    rng = np.random.default_rng(3)
    said = speak(draw_voice(rng), rng, 60, FPS)
    loud = np.sqrt(np.mean(said.wave.reshape(60, -1) ** 2, axis=1))
    assert np.corrcoef(loud, said.opening)[0, 1] > 0.3


def test_a_recording_has_the_level_of_its_room() -> None:
    rng = np.random.default_rng(4)
    room = draw_room(rng)
    wave = record(reverberate(speak(draw_voice(rng), rng, 50, FPS).wave, room, rng), room, rng)
    assert 20 * math.log10(rms(wave)) == pytest.approx(room.level_db, abs=0.2)


def test_the_vocoder_keeps_the_mel_spectrum_and_loses_the_wave() -> None:
    rng = np.random.default_rng(5)
    wave = speak(draw_voice(rng), rng, 50, FPS).wave
    forged = vocode(wave, rng)
    assert rms(forged) == pytest.approx(rms(wave))
    assert abs(np.corrcoef(wave, forged)[0, 1]) < 0.5
    bands = [np.abs(stft(x, 1024, 256))[:, :512].reshape(-1, 64, 8).sum(2) for x in (wave, forged)]
    assert np.corrcoef(bands[0].ravel(), bands[1].ravel())[0, 1] > 0.95


def test_a_splice_shifts_the_pitch_of_a_part_only() -> None:
    at = np.arange(2 * DEMO_RATE_HZ) / DEMO_RATE_HZ
    wave = np.sin(2 * np.pi * 200 * at)
    forged = splice(wave, np.random.default_rng(6))
    changed = np.flatnonzero(np.abs(forged - wave) > 1e-9)
    assert 0.35 < len(changed) / len(wave) < 0.75
    middle = forged[changed[0] + 1600 : changed[-1] - 1600]
    peak_hz = np.argmax(np.abs(np.fft.rfft(middle))) * DEMO_RATE_HZ / len(middle)
    shift = abs(12 * math.log2(peak_hz / 200))
    assert 2.3 < shift < 5.2


@pytest.mark.parametrize("forge", [self_blend, swap_patch, grow])
def test_a_forged_picture_is_changed_in_the_face_only(
    forge: Callable[[FrameStack, Poses, DrawnFace, np.random.Generator], FrameStack],
) -> None:
    rng = np.random.default_rng(7)
    face, scene = draw_face(rng), draw_scene(rng)
    said = speak(draw_voice(rng), rng, 12, FPS)
    frames, poses = film(face, scene, rng, said.opening, said.spread)
    forged = forge(frames, poses, face, rng)
    assert forged.shape == frames.shape
    change = np.abs(forged.astype(float) - frames).mean(axis=(0, 3))
    middle = round(SIZE_PX / 2 + scene.center_y) + 12, round(SIZE_PX / 2 + scene.center_x)
    near = change[middle[0] - 10 : middle[0] + 10, middle[1] - 10 : middle[1] + 10]
    assert near.mean() > 1.0
    for corner in (change[:20, :20], change[:20, -20:], change[-10:, :20], change[-10:, -20:]):
        assert corner.max() == 0


def test_a_film_moves_and_two_identities_differ() -> None:
    opening = np.linspace(0, 1, 8)
    films = []
    for seed in (8, 9):
        scene = draw_scene(np.random.default_rng(0))
        face = draw_face(np.random.default_rng(seed))
        films.append(film(face, scene, np.random.default_rng(1), opening, opening)[0])
    blurred = [cv2.GaussianBlur(frames[0], (0, 0), 3).astype(float) for frames in films]
    assert np.abs(blurred[0] - blurred[1]).mean() > 3
    assert np.abs(films[0][0].astype(float) - films[0][7]).mean() > 1


@pytest.mark.slow(minutes=3)
def test_the_demos_held_out_files_give_nothing_away(tmp_path: Path) -> None:
    # Those of training are made alike, by fewer generators than those of the test split.
    make_demo(tmp_path / "data", num_train=2)
    for split in ("val", "test"):
        for name, value in shortcuts(tmp_path / "data", split).items():
            assert 0.4 < value < 0.6, f"{name} of {split} has an AUC of {value:.3f}"
