"""`prepare`, `check` and `show` on a small made data set: the real commands."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.media.clips import chirp, moving, write_media
from workbench.cli.main import app
from workbench.data.view_store import ViewStore, open_rows
from workbench.media.view import View
from workbench.media.views import AnyView
from workbench.validation import build

EXPERIMENT = """
name: made
views:
  mel: {kind: mel, image_px: 64}
  frames: {kind: frames, num_frames: 2, image_px: 64}
search_space: nowhere.yaml
"""
SIZES = {"train": 8, "val": 4, "test": 2}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an experiment and its data; one validation clip is a copy, one is mute."""
    root = tmp_path_factory.mktemp("made")
    (root / "made.yaml").write_text(EXPERIMENT)
    data = root / "data"
    random = np.random.default_rng(0)
    for split, size in SIZES.items():
        (data / f"{split}set").mkdir(parents=True)
        for _ in range(size):
            noise = random.integers(0, 256, (1, 48, 64, 3))
            pictures = ((moving(6).astype(int) + noise) // 2).astype(np.uint8)
            sound = chirp(0.4 + 0.3 * random.random(), loud=0.2 + 0.6 * random.random())
            name = data / f"{split}set" / f"{random.integers(10**6)}.mp4"
            write_media(name, sound=sound, pictures=pictures)
    trained = sorted((data / "trainset").iterdir())
    (data / "valset" / "copy.mp4").write_bytes(trained[0].read_bytes())
    write_media(data / "valset" / "mute.mp4", pictures=moving(5))
    for split in ("train", "val"):
        names = sorted(path.name for path in (data / f"{split}set").iterdir())
        rows = [f"{name},{number % 2}" for number, name in enumerate(names)]
        (data / f"{split}_label.txt").write_text("\n".join(["video_name,target", *rows]))
    names = sorted(path.name for path in (data / "testset").iterdir())
    rows = [f"{name},0.5" for name in (*names, "gone.mp4")]
    (data / "prediction.csv").write_text("\n".join(["video_name,y_pred", *rows]))
    return root


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}


def workbench(place: Path, *words: str, code: int = 0) -> tuple[str, str]:
    program = [sys.executable, "-m", "workbench", *words, "made.yaml", "--data", "data"]
    done = subprocess.run(
        program,
        cwd=place,
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout, done.stderr


def run_again(place: Path, *words: str, code: int = 0) -> tuple[str, str]:
    """Run a command in this process, after a test of it in one of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        done = CliRunner().invoke(app, [*words, "made.yaml", "--data", "data"])
    assert done.exit_code == code, done.output
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exc_info
    return done.stdout, done.stderr


def test_prepare_says_what_became_of_every_file_and_is_done_once(place: Path) -> None:
    said, _ = workbench(place, "prepare")
    assert "val: 6 files, 3 fake" in said
    assert "test: 3 files, no labels; 1 missing (gone.mp4)" in said
    assert "mel: 1 file no_audio, e.g. valset/mute.mp4: it has no sound stream" in said
    table = [line.split() for line in said.splitlines() if "uint8" in line]
    assert table[0][-4:] == ["17", "15", "1", "1"]  # of mel: files, ok, missing, no_audio
    assert table[1][-4:] == ["17", "16", "1", "0"]
    assert said.endswith("Next: workbench check made.yaml --data data\n")
    arrays = {path: path.stat().st_mtime_ns for path in (place / "experiments").rglob("array.u8")}
    assert len(arrays) == 2
    said_again, _ = run_again(place, "prepare")
    assert said_again == said
    assert all(path.stat().st_mtime_ns == before for path, before in arrays.items())


def test_strict_fails_where_a_file_cannot_be_decoded(place: Path) -> None:
    _, said = run_again(place, "prepare", "--strict", code=1)
    assert said.startswith("error: ")
    assert "could not be decoded as asked, and --strict allows none." in said
    assert said.count("no_audio") == 0  # it is among what prepare said before


def test_check_finds_the_copy_and_writes_a_page(place: Path) -> None:
    said, _ = workbench(place, "check")
    assert "Page: " in said
    assert "\nA search would be refused: nowhere.yaml does not exist." in said
    assert "Next:" not in said
    page = (place / "experiments" / "checks" / "made.html").read_text(encoding="utf-8")
    assert "valset/copy.mp4" in page
    found = json.loads(run_again(place, "check", "--json")[0])
    codes = [finding["code"] for finding in found["findings"]]
    assert "copies_across_splits" in codes
    copies = found["findings"][codes.index("copies_across_splits")]
    assert copies["severity"] == "warning"
    assert any("valset/copy.mp4" in group for group in copies["files"])
    run_again(place, "check", "--strict", code=1)


def test_show_writes_a_sheet_for_each_view(place: Path) -> None:
    said, _ = workbench(place, "show", "--samples", "2")
    folder = place / "experiments" / "checks" / "made-views"
    assert (folder / "index.html").exists()
    for view in ("mel", "frames"):
        assert (folder / f"{view}.png").read_bytes().startswith(b"\x89PNG")
        assert f"{view}.png" in said
    assert "No sheets of augmentations: nowhere.yaml does not exist." in said


@pytest.mark.slow
def test_show_writes_a_sheet_of_what_the_search_space_does_to_each_view(place: Path) -> None:
    space = """
views: [mel, frames]
backbone: test_resnet
image_px: 64
optimizer: {kind: adamw, lr: 1e-3}
augment: {pictures: {hflip: 0.5}, spectrograms: {gain_db: {choice: [0, 6]}}}
"""
    file, folder = place / "nowhere.yaml", place / "experiments" / "checks" / "made-views"
    file.write_text(space)
    try:
        said, _ = workbench(place, "show", "--samples", "2")
        file.write_text(space.replace("0.5", "0").replace("[0, 6]", "[0]"))
        said_of_none, _ = workbench(place, "show", "--samples", "2")
    finally:
        file.unlink()
    assert [line for line in said.splitlines() if line.endswith(".png")] == [
        str(folder / f"{name}.png")
        for name in ("mel", "frames", "augmentations/mel", "augmentations/frames")
    ]
    assert "No sheets" not in said
    assert "No sheets of augmentations: nowhere.yaml can draw none." in said_of_none
    assert "augmentations/" not in said_of_none


def children_of(pid: int) -> list[int]:
    """The processes that `pid` started, and theirs."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and (folder / "stat").exists():
            try:
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            if parent == pid:
                found += [int(folder.name), *children_of(int(folder.name))]
    return found


def wait_for(what: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not what():
        assert time.monotonic() < end
        time.sleep(0.02)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.slow
def test_a_preparation_that_is_killed_leaves_nothing_behind_and_goes_on(
    place: Path, tmp_path: Path
) -> None:
    (tmp_path / "made.yaml").write_text(EXPERIMENT)
    shutil.copytree(place / "data", tmp_path / "data")
    clip = next((place / "data" / "trainset").iterdir()).read_bytes()
    with (tmp_path / "data" / "train_label.txt").open("a") as labels:
        for number in range(700):
            # A box that no decoder reads makes each copy another content.
            box = (16).to_bytes(4, "big") + b"free" + number.to_bytes(8, "big")
            (tmp_path / "data" / "trainset" / f"n{number}.mp4").write_bytes(clip + box)
            labels.write(f"\nn{number}.mp4,{number % 2}")
    program = [sys.executable, "-m", "workbench", "prepare", "made.yaml", "--data", "data"]
    cache = tmp_path / "experiments" / "cache" / "views"

    def has_begun() -> bool:
        return sum(path.stat().st_size for path in cache.glob("*/array.u8")) > 40 * 64 * 64

    with subprocess.Popen(
        program, cwd=tmp_path, env=environment(), stderr=subprocess.DEVNULL
    ) as process:
        wait_for(has_begun)
        decoders = children_of(process.pid)
        assert len(decoders) >= 2
        process.kill()
    wait_for(lambda: not any(map(is_running, decoders)))
    num_known = sum(len(index.read_bytes().splitlines()) for index in cache.glob("*/index.jsonl"))
    assert num_known < 2 * 700  # it was cut off before its end
    workbench(tmp_path, "prepare")
    again = rows_by_content(tmp_path)
    shutil.rmtree(tmp_path / "experiments")
    workbench(tmp_path, "prepare")
    whole = rows_by_content(tmp_path)
    assert len(whole) > 2 * 700
    assert again == whole


def rows_by_content(place: Path) -> dict[tuple[str, str], bytes]:
    """What is stored of each content in each view."""
    found = {}
    for folder in (place / "experiments" / "cache" / "views").iterdir():
        view: View = build(
            AnyView, json.loads((folder / "view.json").read_text()), where="view.json"
        )
        store = ViewStore(place / "experiments" / "cache", view)
        rows = open_rows(store.array_file, view)
        for content, outcome in store.outcomes().items():
            found[folder.name, content] = rows[outcome.row].tobytes()
    return found
