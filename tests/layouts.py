"""Small data folders in layouts that competitions do not have."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import soundfile  # type: ignore[import-untyped]
import yaml

SPEAKERS = 8


def picture(path: Path, *, fake: bool, seed: int) -> None:
    """Write 32 x 32 noise, a little red if fake and a little blue if real."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(60, 160, (32, 32, 3))
    pixels[..., 2 if fake else 0] += 40
    assert cv2.imwrite(str(path), pixels.astype(np.uint8))


def sound(path: Path, *, fake: bool, seed: int) -> None:
    """Write a third of a second of a rising tone, a higher one if fake, in the ending's format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    time_s = np.arange(5_000) / 16_000
    noise = np.random.default_rng(seed).normal(0, 0.05, time_s.size)
    tone = 0.4 * np.sin(2 * np.pi * (900 if fake else 300) * time_s * (1 + time_s))
    soundfile.write(path, tone + noise, 16_000)


def class_folders(folder: Path) -> Path:
    """Pictures in `real` and `fake`, a note beside them, and unlabelled ones in `test`."""
    for n in range(20):
        picture(folder / ("fake" if n % 2 else "real") / f"{n}.png", fake=bool(n % 2), seed=n)
    (folder / "fake" / "notes.txt").write_text("made by hand\n")
    for n in range(4):
        picture(folder / "test" / f"t{n}.jpg", fake=bool(n % 2), seed=100 + n)
    return folder


def table_of_words(folder: Path) -> Path:
    """Pictures in a folder, a table `filename,label` of words, neither val nor test."""
    rows = []
    for n in range(24):
        picture(folder / "images" / f"s{n}.jpg", fake=bool(n % 2), seed=n)
        rows.append((f"s{n}.jpg", "fake" if n % 2 else "real"))
    pd.DataFrame(rows, columns=["filename", "label"]).to_csv(folder / "labels.csv", index=False)
    return folder


def sounds_alone(folder: Path) -> Path:
    """Sounds of four formats in `train`, `dev` and `eval`, each with `spoof` and `bonafide`."""
    for split, number in (("train", 16), ("dev", 8), ("eval", 4)):
        for n in range(number):
            name = f"{split}{n}.{('wav', 'flac', 'mp3', 'ogg')[n // 2 % 4]}"
            place = folder / split / ("spoof" if n % 2 else "bonafide")
            sound(place / name, fake=bool(n % 2), seed=n + number)
    return folder


def template_with_more(folder: Path) -> Path:
    """A table for each split, and a template with columns of its own, cells with commas."""
    for split, number in (("train", 16), ("val", 8)):
        rows = []
        for n in range(number):
            picture(folder / split / f"{split}{n}.png", fake=bool(n % 2), seed=n + number)
            rows.append((f"{split}{n}.png", n % 2))
        pd.DataFrame(rows, columns=["image", "is_fake"]).to_csv(
            folder / f"{split}.csv", index=False
        )
    asked = []
    for n in range(4):
        picture(folder / "test" / f"q{n}.png", fake=bool(n % 2), seed=200 + n)
        asked.append((n, f"q{n}.png", 0.5, "public, new"))
    columns = ["row", "image", "is_fake", "note"]
    pd.DataFrame(asked, columns=columns).to_csv(folder / "sample_submission.csv", index=False)
    return folder


def recordings(folder: Path) -> Path:
    """Sounds of eight speakers, described by a Parquet table with splits, but no val."""
    rows = []
    for n in range(36):
        is_test = n >= 32
        sound(folder / "clips" / f"r{n}.flac", fake=bool(n % 2), seed=n)
        said = ("spoof", ("espeak", "griffin-lim")[n // 2 % 2]) if n % 2 else ("bonafide", "")
        speaker = f"speaker {n // 4 % SPEAKERS}"
        rows.append((f"clips/r{n}.flac", *said, speaker, "test" if is_test else "train"))
    columns = ["path", "label", "generator", "speaker", "split"]
    pd.DataFrame(rows, columns=columns).to_parquet(folder / "recordings.parquet")
    return folder


def shrink(root: Path, name: str) -> None:
    """Change a written experiment so that a trial takes a second: one tiny net, one epoch."""
    about, space = root / "experiments" / f"{name}.yaml", root / "search_spaces" / f"{name}.yaml"
    tree = yaml.safe_load(about.read_text(encoding="utf-8"))
    first = next(iter(tree["views"]))
    sizes = {"mel": {"num_mels": 32, "image_px": 48}, "image": {"image_px": 32}}
    tree["views"] = {first: {**tree["views"][first], **sizes[first]}}
    tree["pruning"] = {"kind": "none"}
    about.write_text(yaml.safe_dump(tree, sort_keys=False), encoding="utf-8")
    tree = yaml.safe_load(space.read_text(encoding="utf-8"))
    tree |= {"views": [first], "backbone": "test_resnet", "pretrained": "none", "image_px": 32}
    tree |= {"num_epochs": 1, "batch_size": 4, "augment": {}}
    space.write_text(yaml.safe_dump(tree, sort_keys=False), encoding="utf-8")
