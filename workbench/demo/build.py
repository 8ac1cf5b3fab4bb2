"""The demo data: a small audio-video forgery task made from code alone, the same every time.

A clip shows a drawn talking head and holds speech-like sound. A fake is forged in its picture, in
its sound or in both. Each real clip has a fake twin of the same identity, length, loudness, noise
and compression, so none of these tells the class; no identity is in two splits; and one generator
is in the test split only.
"""

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from workbench.access import require_writable
from workbench.console import track
from workbench.demo.clip import make_clip
from workbench.demo.plan import DEMO_VERSION, SPLITS, Clip, Split, deal
from workbench.errors import DataError
from workbench.fence import num_cores
from workbench.files import read_json, sweep, write_json, write_text
from workbench.opencv import cv2
from workbench.processes import Spawning

_STARTED = "making.json"
_FINISHED = "demo.json"
_COLUMNS = ("picture_generator", "sound_generator", "identity")


def make_demo(
    out: Path,
    *,
    num_train: int = 300,
    num_val: int = 150,
    num_test: int = 150,
    seed: int = 0,
    jobs: int | None = None,
) -> None:
    """Make the demo data in the folder `out`, laid out as the competition lays out its own.

    What made the fakes of the other splits is in metadata.csv. The labels of the test split go to
    `out`/private, which no search reads. A making that was
    stopped is continued; one that is complete is left alone. What is made does not depend on
    `jobs`, the number of processes (by default one a core).

    Raises:
        AccessError: `out` cannot be written.
        DataError: `out` holds something else, or a process died.
    """
    num_clips: dict[Split, int] = {"train": num_train, "val": num_val, "test": num_test}
    for split, number in num_clips.items():
        if number < 2:
            raise DataError(
                f"the {split} split would have {number} clips. Ask for 2 or more, for both classes."
            )
    settings = {"version": DEMO_VERSION, "seed": seed, "num_clips": num_clips}
    clips = deal(num_clips, seed)
    _claim(out, settings)
    if is_complete(out):
        return
    (out / _FINISHED).unlink(missing_ok=True)
    sweep(out)
    _make_clips([(clip, clip_path(out, clip)) for clip in clips], jobs or num_cores())
    _write_labels(out, clips)
    write_json(out / _FINISHED, {**settings, "generators": _tally(clips)})


def is_complete(out: Path) -> bool:
    """Return whether `out` holds demo data of this version whose making was finished."""
    try:
        record = read_json(out / _FINISHED)
    except (FileNotFoundError, ValueError):
        return False
    if not isinstance(record, dict) or record.get("version") != DEMO_VERSION:
        return False
    folders = ((out / f"{split}set", record["num_clips"][split]) for split in SPLITS)
    labels = (out / "train_label.txt", out / "val_label.txt", out / "prediction.txt.csv")
    return all(len(list(folder.glob("*.mp4"))) == number for folder, number in folders) and all(
        path.exists() for path in labels
    )


def clip_path(out: Path, clip: Clip) -> Path:
    """Return where `clip` lies in the demo data `out`."""
    return out / f"{clip.split}set" / f"{clip.name}.mp4"


def _claim(out: Path, settings: dict[str, Any]) -> None:
    """Take the folder `out` for a making of `settings`, so that two are never mixed."""
    require_writable(out)
    if out.exists() and not out.is_dir():
        raise DataError(f"{out} is a file. Name a folder for the demo data.")
    started = out / _STARTED
    if started.exists():
        try:
            found = read_json(started)
        except ValueError:
            found = f"a damaged {_STARTED}"
        if found != settings:
            raise DataError(
                f"{out} holds demo data of other settings ({found}; asked for {settings}). "
                "Name another folder, or delete this one."
            )
    elif out.exists() and any(out.iterdir()):
        raise DataError(f"{out} holds other files. Name an empty or new folder for the demo data.")
    else:
        write_json(started, settings)


def _make_clips(work: Sequence[tuple[Clip, Path]], jobs: int) -> None:
    """Make every clip that is not there yet; a clip under its final name is whole."""
    missing = [(clip, path) for clip, path in work if not path.exists()]
    made = _in_processes(missing, jobs) if jobs > 1 else _in_turn(missing)
    for _ in track(made, "demo data", unit="clip", total=len(missing)):
        pass


def _in_turn(work: Sequence[tuple[Clip, Path]]) -> Iterator[Path]:
    for clip, path in work:
        make_clip(clip, path)
        yield path


def _in_processes(work: Sequence[tuple[Clip, Path]], jobs: int) -> Iterator[Path]:
    try:
        with ProcessPoolExecutor(jobs, Spawning(), cv2.setNumThreads, (1,)) as pool:
            tasks = {pool.submit(make_clip, clip, path): path for clip, path in work}
            try:
                for task in as_completed(tasks):
                    task.result()
                    yield tasks[task]
            finally:
                pool.shutdown(cancel_futures=True)
    except BrokenProcessPool as error:
        raise DataError(
            "a process that makes demo clips was ended from outside (out of memory?). Run it "
            "again: finished clips are kept."
        ) from error


def _write_labels(out: Path, clips: Sequence[Clip]) -> None:
    """Write the label files; the rows are in the order of the names, which is no order."""
    clips = sorted(clips, key=lambda clip: clip.name)
    for split in ("train", "val"):
        rows = [(f"{clip.name}.mp4", clip.target) for clip in clips if clip.split == split]
        write_text(out / f"{split}_label.txt", _csv(("video_name", "target"), rows))
    test = [clip for clip in clips if clip.split == "test"]
    known = [
        (f"{clip.name}.mp4", _generator(clip), clip.identity)
        for clip in clips
        if clip.split != "test"
    ]
    write_text(out / "metadata.csv", _csv(("video_name", "generator", "identity"), known))
    blank = [(f"{clip.name}.mp4", 0.5) for clip in test]
    write_text(out / "prediction.txt.csv", _csv(("video_name", "y_pred"), blank))
    header = ("video_name", "target", *_COLUMNS)
    write_text(out / "private" / "test_label.csv", _csv(header, [_row(clip) for clip in test]))
    every = [(*_row(clip), clip.split) for clip in clips]
    write_text(out / "private" / "sources.csv", _csv((*header, "split"), every))


def _generator(clip: Clip) -> str:
    """Return what forged a clip, both where its picture and its sound were; empty if nothing."""
    both = (clip.picture_generator, clip.sound_generator)
    return "+".join(generator for generator in both if generator != "real")


def _row(clip: Clip) -> tuple[object, ...]:
    return f"{clip.name}.mp4", clip.target, *(getattr(clip, column) for column in _COLUMNS)


def _csv(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def _tally(clips: Sequence[Clip]) -> dict[str, dict[str, int]]:
    """Return how many clips of each split were forged by each generator."""
    found = {split: Counter[str]() for split in SPLITS}
    for clip in clips:
        found[clip.split].update({clip.picture_generator, clip.sound_generator} - {"real"})
    return {split: dict(sorted(counts.items())) for split, counts in found.items()}
