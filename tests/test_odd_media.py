"""Odd and damaged media among good ones: every command and a bundle's own door end well.

`tests/media` says what each file gives; here it is what the commands make of them.
"""

import csv
import io
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from moviepy.config import FFMPEG_BINARY
from typer.testing import CliRunner

from tests.media.clips import greys, moving, tone, write_media
from tests.media.malformed_makers import media, noise
from tests.media.odd_files import late_flv, late_mpg, wide_wav
from tests.media.test_mutants import PICTURES, SOUNDS, mutant
from tests.media.test_rendering import MATRICES, with_matrix, write_clear
from tests.media.test_sound_clock import hum, placed
from tests.media.test_sound_length import encoded, hiss
from tests.media.test_still_formats import JXL_BARE, boxes
from tests.media.test_video_mutants import mutants
from workbench.cli.main import app
from workbench.study.folder import StudyFolder
from workbench.submission.api import Predictor

EXPERIMENT = {
    "name": "odd",
    "views": {
        "mel": {"kind": "mel", "image_px": 32, "num_mels": 32},
        "aligned": {"kind": "logspec", "image_px": 32, "align": True},
        "frames": {"kind": "frames", "num_frames": 2, "image_px": 32},
        "nearest": {"kind": "frames", "num_frames": 2, "image_px": 32, "sampling": "nearest"},
    },
    "search_space": "space.yaml",
    "pruning": {"kind": "none"},
}
SPACE = {
    "views": ["mel", "aligned", "frames", "nearest"],
    "backbone": "test_resnet",
    "pretrained": "none",
    "image_px": 32,
    "num_epochs": 1,
    "batch_size": 8,
    "precision": "float32",
    "optimizer": {"kind": "adamw", "lr": 1e-3},
}
SEARCH = ("--trials", "1", "--jobs", "1", "--device", "cpu")
"""What is drawn is one recipe, so one trial."""

HEARD, SEEN = {"mel", "aligned"}, {"frames", "nearest"}
BOTH, NEITHER = HEARD | SEEN, set[str]()

ODD = {
    "late.mpg": SEEN,
    "late.flv": BOTH,
    "wide.wav": HEARD,
    "mirrored.mp4": SEEN,
    "trimmed.mp4": SEEN,
    "bare.h264": SEEN,
    "bare.hevc": SEEN,
    "restarts.ts": BOTH,
    "uneven.mp4": BOTH,
    "guessed.aac": HEARD,
    "headless.mp3": HEARD,
    "late sound.mp4": BOTH,
    "cut.jpg": SEEN,
    "clear.mov": SEEN,
    "high range.mp4": BOTH,
    "photo.heic": NEITHER,
    "photo.jxl": NEITHER,
}
"""By name, the views that there are of it; a still is a video of one frame."""


def write_odd_files(folder: Path) -> None:
    """Write the files of `ODD`."""
    made = {
        "late.mpg": late_mpg(),
        "late.flv": late_flv(),
        "wide.wav": wide_wav(),
        "bare.h264": media(".h264", sound_s=0),
        "bare.hevc": media(
            ".hevc", sound_s=0, codec="libx265", encoder="x265-params=pools=1:log-level=none"
        ),
        "restarts.ts": media(".ts") * 2,
        "uneven.mp4": media(".mp4", times_ms=(0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 900, 2000)),
        "high range.mp4": media(
            ".mp4",
            pix_fmt="yuv420p10le",
            encoder="x264-params=mbtree=0:threads=1:transfer=smpte2084:colorprim=bt2020"
            ":colormatrix=bt2020nc",
        ),
        "photo.heic": boxes(b"heic"),
        "photo.jxl": JXL_BARE,
    }
    for name, content in made.items():
        (folder / name).write_bytes(content)
    whole = write_media(folder / "whole.mp4", pictures=greys(30))
    with_matrix(whole, *MATRICES[4]).rename(folder / "mirrored.mp4")
    program = [FFMPEG_BINARY, "-loglevel", "error", "-ss", "0.4", "-i", whole, "-c", "copy"]
    subprocess.run([*program, folder / "trimmed.mp4"], check=True)
    whole.unlink()
    quiet_first = np.concatenate([hiss(4, loud=0), hiss(4)])
    encoded(folder / "guessed.aac", quiet_first, "aac", bit_rate=128_000)
    noisy_first = quiet_first[::-1].copy()
    encoded(folder / "headless.mp3", noisy_first, "libmp3lame", container={"write_xing": "0"})
    placed(folder / "late sound.mp4", [(1.5, hum(600))])
    file = io.BytesIO()
    noise().save(file, "JPEG")
    (folder / "cut.jpg").write_bytes(file.getvalue()[:-2])
    write_clear(folder / "clear.mov", "png", "rgba")


def write_good_clips(folder: Path, number: int) -> list[str]:
    for index in range(number):
        pictures = np.roll(moving(8), 3 * index, axis=1) // np.uint8(1 + index % 2)
        sound = tone(300 + 200 * (index % 2) + 10 * index, 0.5)
        write_media(folder / f"good{index}.mp4", sound=sound, pictures=pictures)
    return [f"good{index}.mp4" for index in range(number)]


def write_tables(root: Path) -> None:
    """Write an experiment, and tables that name every file of its three splits."""
    for name, content in (("odd.yaml", EXPERIMENT), ("space.yaml", SPACE)):
        (root / name).write_text(yaml.safe_dump(content))
    for split, table in (
        ("train", "train_label.txt"),
        ("val", "val_label.txt"),
        ("test", "prediction.txt.csv"),
    ):
        names = sorted(path.name for path in (root / "data" / f"{split}set").iterdir())
        with (root / "data" / table).open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["video_name", "y_pred" if split == "test" else "target"])
            rows.writerows([name, index % 2] for index, name in enumerate(names))


def run(*words: str | Path) -> str:
    """Run a command that ends well; return what it printed."""
    done = CliRunner().invoke(app, [*map(str, words)])
    assert done.exit_code == 0, done.output
    assert "Traceback" not in done.output
    return done.output


def do_the_main_job() -> str:
    """Run every command from `prepare` to `export`; return what all of them printed."""
    data = ("odd.yaml", "--data", "data")
    said = run("prepare", *data, "--jobs", "2") + run("check", *data)
    said += run("search", *data, *SEARCH)
    return said + run("export", "odd", "--allow-missing", "--out", "bundle")


def assert_bundle_agrees(root: Path, capfd: pytest.CaptureFixture[str]) -> str:
    """Check `predict` and the bundle's own class by the exported scores; return what was said."""
    with (root / "bundle" / "predictions.csv").open() as table:
        exported = {row["video_name"]: float(row["y_pred"]) for row in csv.DictReader(table)}
    files = [root / "data" / "testset" / name for name in exported]
    capfd.readouterr()
    run("predict", "bundle", *files, "--out", "scores.csv")
    said = capfd.readouterr().err
    with Path("scores.csv").open() as table:
        scores = [float(row["y_pred"]) for row in csv.DictReader(table)]
    assert scores == pytest.approx(list(exported.values()), abs=1e-4)
    with Predictor(Path("bundle"), num_decoders=2) as predictor:
        found = list(predictor.predictions(files))
    assert [one.score for one in found] == pytest.approx(scores, abs=1e-6)
    neutral = sum(one.is_neutral for one in found)
    assert f"{neutral} of {len(files)} files could not be read and got a neutral score" in said
    return said


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an experiment and data in which every split has the odd files."""
    root = tmp_path_factory.mktemp("odd")
    (root / "odd").mkdir()
    write_odd_files(root / "odd")
    for split, number in (("train", 8), ("val", 6), ("test", 2)):
        folder = root / "data" / f"{split}set"
        shutil.copytree(root / "odd", folder)
        write_good_clips(folder, number)
    write_tables(root)
    return root


def test_odd_files_are_checked(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    said = run("check", "odd.yaml", "--data", "data")
    nothing = sum(views == NEITHER for views in ODD.values())
    # Labelled files of which nothing could be made are told by themselves.
    assert f"warning: {2 * nothing} labelled files of 67 of which nothing could be made" in said
    for view in BOTH:
        lacking = 3 * sum(view not in views for views in ODD.values()) - 2 * nothing
        assert f"note: {lacking} files of 67 have no {view} (" in said


@pytest.mark.slow
def test_odd_files_go_through_every_command(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in ("data", "odd.yaml", "space.yaml"):
        (tmp_path / name).symlink_to(place / name)
    monkeypatch.chdir(tmp_path)
    said = do_the_main_job()
    assert "1 complete, 0 pruned, 0 failed." in said
    files = pd.read_parquet(StudyFolder(tmp_path / "experiments" / "odd").manifest)
    for split in ("train", "val", "test"):
        rows = files[files["split"] == split].set_index("name")
        made = {view: rows[f"status.{view}"] == "ok" for view in BOTH}
        assert {name: {view for view in BOTH if made[view][name]} for name in ODD} == ODD
    assert "2 of the 19 test files got a neutral score" in said
    assert_bundle_agrees(tmp_path, capfd)


@pytest.mark.slow(minutes=1.5)
def test_hundreds_of_mutants_go_through_every_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    folders = [tmp_path / "data" / f"{split}set" for split in ("train", "val", "test")]
    for folder in folders:
        folder.mkdir(parents=True)
        write_good_clips(folder, 8)
    random = np.random.default_rng(12)
    damaged = [(name, data) for name, data in mutants()]
    for kinds in (SOUNDS, PICTURES):
        whole = {name: make() for name, make in kinds.items()}
        names = [list(whole)[number % len(whole)] for number in range(150)]
        damaged += [(name, mutant(whole[name], random)) for name in names]
    for number, (name, data) in enumerate(damaged):
        (folders[number % 3] / f"{number} {name}").write_bytes(data)
    write_tables(tmp_path)
    monkeypatch.chdir(tmp_path)
    said = do_the_main_job()
    assert "1 complete, 0 pruned, 0 failed." in said
    said = assert_bundle_agrees(tmp_path, capfd)
    assert "unexpected" not in said
