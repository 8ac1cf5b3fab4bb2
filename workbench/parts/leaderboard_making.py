"""Make the table of published figures from a `results` folder of timm, given by path or URL.

    python -m workbench.parts.leaderboard_making FOLDER_OR_URL --commit 0123abcd --date 2026-08-08

A URL is that of the raw files, e.g.
https://raw.githubusercontent.com/huggingface/pytorch-image-models/0123abcd/results. The commit and
its date stand in the table's first line; a folder in a git checkout knows them by itself.
"""

import argparse
import csv
import io
import re
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path

from workbench.errors import ConfigError, WorkbenchError
from workbench.files import write_text
from workbench.parts.leaderboard import COLUMNS, LEADERBOARD_TABLE

SOURCE = "results of huggingface/pytorch-image-models, Apache-2.0, commit {commit} of {date}"

BASE = "results-imagenet.csv"
TOP1 = {
    "imagenet": BASE,
    "imagenet_v2": "results-imagenetv2-matched-frequency.csv",
    "real": "results-imagenet-real.csv",
    "sketch": "results-sketch.csv",
    "imagenet_a": "results-imagenet-a.csv",
    "imagenet_a_clean": "results-imagenet-a-clean.csv",
    "imagenet_r": "results-imagenet-r.csv",
    "imagenet_r_clean": "results-imagenet-r-clean.csv",
}
"""Which file holds the top-1 of each column."""

GPU = "benchmark-infer-amp-nchw-pt291-cu128-4090.csv"
BENCHMARKS: dict[str, tuple[str, str, str]] = {
    "gmacs": (GPU, "infer_img_size", "infer_gmacs"),
    "macts": (GPU, "infer_img_size", "infer_macts"),
    "infer_per_s": (GPU, "infer_img_size", "infer_samples_per_sec"),
    "train_per_s": (
        "benchmark-train-amp-nhwc-pt112-cu113-rtx3090.csv",
        "train_img_size",
        "train_samples_per_sec",
    ),
    "cpu_infer_per_s": (
        "benchmark-infer-fp32-nchw-pt240-cpu-i9_10940x-dynamo.csv",
        "infer_img_size",
        "infer_samples_per_sec",
    ),
}
"""File, column of the image size and column of the figure; they are by architecture, untagged."""

Key = tuple[str, int]
ReadText = Callable[[str], str]


def make(read: ReadText, *, commit: str, date: str) -> tuple[str, list[str]]:
    """Return the text of the table, and a sentence for each figure that a file does not have.

    Args:
        read: Returns the text of a file of the folder, by its name.
        commit: Of timm, that the files are of.
        date: Of that commit.

    Raises:
        ConfigError: a file lacks a column, repeats a row or holds no number where one belongs.
    """
    rows: dict[Key, dict[str, str]] = {}
    for key, row in _rows(read(BASE), BASE, "img_size").items():
        rows[key] = {"model": key[0], "image_px": str(key[1])}
        rows[key]["params_m"] = _number(row, "param_count", BASE)
    top1 = {column: _figures(read(file), file, "img_size", "top1") for column, file in TOP1.items()}
    speed = {
        column: _figures(read(file), file, size, figure)
        for column, (file, size, figure) in BENCHMARKS.items()
    }
    said = []
    for column in COLUMNS[3:]:
        by_arch = column in speed
        found = speed[column] if by_arch else top1[column]
        for (model, image_px), row_of in rows.items():
            key = (model.partition(".")[0] if by_arch else model, image_px)
            row_of[column] = found.get(key, "")
        without = [key for key in rows if not rows[key][column]]
        if without:
            few = ", ".join(f"{model} at {px} px" for model, px in without[:3])
            more = f" and {len(without) - 3} more" if len(without) > 3 else ""
            said.append(f"There is no {column} of {few}{more}.")
    out = io.StringIO()
    out.write(f"# {SOURCE.format(commit=commit, date=date)}\n")
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows[key] for key in sorted(rows))
    return out.getvalue(), said


def reader(place: str) -> ReadText:
    """Return what reads the files of `place`, a folder or the URL of raw files."""
    if place.startswith(("https://", "http://")):
        return lambda name: _download(f"{place.rstrip('/')}/{name}")
    folder = Path(place)

    def read(name: str) -> str:
        try:
            return (folder / name).read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError) as error:
            raise ConfigError(
                f"{folder / name} does not exist. Name the `results` folder of a timm checkout; "
                "if a newer timm renamed the file, rename it in this script too."
            ) from error

    return read


def revision(folder: Path) -> tuple[str, str]:
    """Return the commit of a folder in a git checkout and its date; two empty words elsewhere."""
    asked = subprocess.run(
        ["git", "-C", str(folder), "log", "-1", "--format=%h %cs", "--", "."],
        capture_output=True,
        text=True,
        check=False,
    )
    words = asked.stdout.split()
    return (words[0], words[1]) if asked.returncode == 0 and len(words) == 2 else ("", "")


def main(words: list[str] | None = None) -> int:
    """Write the table; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m workbench.parts.leaderboard_making",
        description="Make the table of timm's published figures.",
    )
    parser.add_argument("place", help="timm's `results` folder, by path or URL of the raw files")
    parser.add_argument("--commit", default="", help="commit of timm that the files are of")
    parser.add_argument("--date", default="", help="date of that commit, e.g. 2026-08-08")
    parser.add_argument("--out", type=Path, default=LEADERBOARD_TABLE, help="file to write")
    given = parser.parse_args(words)
    commit, date = given.commit, given.date
    if not (commit and date) and Path(given.place).is_dir():
        found = revision(Path(given.place))
        commit, date = commit or found[0], date or found[1]
    if not (commit and date):
        parser.error("say which timm the files are of, by --commit and --date")
    try:
        text, said = make(reader(given.place), commit=commit, date=date)
    except WorkbenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    write_text(given.out, text)
    for sentence in said:
        print(sentence)
    print(f"{given.out} has {text.count(chr(10)) - 2} rows.")
    return 0


def _rows(text: str, file: str, size: str) -> dict[Key, Mapping[str, str]]:
    """Return the rows of a file by model and image side."""
    found: dict[Key, Mapping[str, str]] = {}
    for row in csv.DictReader(io.StringIO(text)):
        side = _number(row, size, file)
        if not side.isdigit() or not row.get("model"):
            raise ConfigError(f"{file} has a row of no model at no image size: {dict(row)}.")
        key = (row["model"], int(side))
        if key in found:
            raise ConfigError(f"{file} has {key[0]} at {key[1]} px twice. Remove one row.")
        found[key] = row
    return found


def _figures(text: str, file: str, size: str, column: str) -> dict[Key, str]:
    rows = _rows(text, file, size)
    return {key: _number(row, column, file) for key, row in rows.items()}


def _number(row: Mapping[str, str], column: str, file: str) -> str:
    """Return a figure to six digits; in timm's files, thousands may have a comma."""
    if row.get(column) is None:
        raise ConfigError(f"{file} has no column {column!r}, or a row that ends before it.")
    text = row[column].replace(",", "").strip()
    if not re.fullmatch(r"-?\d+(\.\d+)?", text):
        raise ConfigError(f"{file}: {column} of {row.get('model')} is {text!r}, no number.")
    return f"{float(text):.6g}"


def _download(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            return str(answer.read().decode("utf-8"))
    except OSError as error:
        raise ConfigError(
            f"{url} cannot be read ({error}). Give the URL of the folder's raw files, or a path."
        ) from error


if __name__ == "__main__":
    sys.exit(main())
