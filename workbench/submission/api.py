"""What a bundle does: score media files with the exported model, and nothing but its own files."""

import argparse
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Self

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from workbench.console import say, track, visible_lines
from workbench.data.names import find_files
from workbench.errors import BundleError, ConfigError, DataError, MediaError, WorkbenchError
from workbench.fence import num_cores
from workbench.files import read_json
from workbench.media.decoders import (
    FILE_LIMIT_S,
    Tally,
    UnexpectedError,
    decoders,
    ended,
    read_any,
    read_here,
)
from workbench.media.view import Array, Made, MadeOrNot, View
from workbench.parts.model_spec import ModelSpec
from workbench.parts.temperature import tempered
from workbench.scoring.any_model import read_spec, scores_of
from workbench.scoring.evaluator import DecodedViews
from workbench.submission.paths import check_files, check_out, write_out
from workbench.submission.places import MODEL, WEIGHTS, read_columns, read_temperature
from workbench.submission.predictions import fill, is_filled, named_sheet, read_sheet

BATCH_SIZE = 8
"""Files decoded, and samples scored, at once; small, so that any machine has the memory for it."""

MOST_DECODERS = 8
"""Processes that decode, unless more are asked for: each takes memory."""

NUM_NAMED = 3
"""Files without a score of their own that are named."""


@dataclass(frozen=True)
class Prediction:
    """The score of one file, and what of the file could not be read."""

    path: Path
    score: float
    """The probability that it is fake."""

    failed: Mapping[str, MediaError]
    """Why there is no such view of it, by the name of the view; neutral values stood for it."""

    is_neutral: bool
    """Whether there is no view of it at all: the score says nothing of the file."""


class Predictor:
    """The model of a bundle, ready to score files. Nothing is downloaded.

    Args:
        bundle: The bundle's folder.
        device: A torch device.
        num_decoders: Processes that decode files, each file within limits of time and memory; one a
            core by default. They start with the first file and end with the predictor. With 0,
            files are decoded in this process, without limits.
        limit_s: Time that the decoding of one file may take.

    Any thread may use it.

    Raises:
        BundleError: the model spec or the weights are gone, damaged, or do not fit each other.
    """

    def __init__(
        self,
        bundle: Path,
        device: str = "cpu",
        *,
        num_decoders: int | None = None,
        limit_s: float = FILE_LIMIT_S,
    ) -> None:
        try:
            self.device = torch.device(device)
        except RuntimeError as error:
            raise ConfigError(f"{device!r} is no torch device. Write e.g. cpu or cuda.") from error
        try:
            self.spec = read_spec(read_json(bundle / MODEL))
            model = self.spec.build()
            model.load_state_dict(load_file(bundle / WEIGHTS))
            self.temperature = read_temperature(bundle)
        except (OSError, ValueError, RuntimeError, SafetensorError, ConfigError) as error:
            said = " ".join(str(error).split())[:300].rstrip(".")
            raise BundleError(
                f"The model of {bundle} cannot be built ({said}). Export the bundle again."
            ) from error
        try:
            self.model = model.place(self.device)
        except (RuntimeError, AssertionError) as error:
            said = str(error).splitlines()[0]
            raise ConfigError(f"{device} cannot be used ({said}). Use the device cpu.") from error
        num = min(MOST_DECODERS, num_cores()) if num_decoders is None else num_decoders
        self._fence = decoders(num, limit_s=limit_s) if num else None
        self._limit_s, self._num_ahead = limit_s, BATCH_SIZE + 2 * num

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the processes that decode; nothing can be predicted after that."""
        if self._fence:
            self._fence.close()

    def predict(self, path: str | Path) -> float:
        """Return the probability that the media file `path` is fake."""
        return self.predict_many([path])[0]

    def predict_many(self, paths: Iterable[str | Path]) -> list[float]:
        """Return the probability for each of `paths` that it is fake."""
        return list(self.predict_each(paths))

    def predict_each(self, paths: Iterable[str | Path]) -> Iterator[float]:
        """Yield the probability for each of `paths`, some at a time.

        As in the study, a file that is missing, empty or broken, or that takes too much to decode,
        is scored by neutral pictures; a line on stderr says so.
        """
        return (prediction.score for prediction in self.predictions(paths))

    def predictions(self, paths: Iterable[str | Path]) -> Iterator[Prediction]:
        """Yield for each of `paths` its probability and what of it could not be read."""
        waiting = map(Path, paths)
        ahead: deque[tuple[Path, Callable[[], MadeOrNot | MediaError]]] = deque()
        while True:
            for path in islice(waiting, self._num_ahead - len(ahead)):
                ahead.append((path, self._reading(path)))
            if not ahead:
                return
            some = [ahead.popleft() for _ in range(min(BATCH_SIZE, len(ahead)))]
            yield from self._predict_batch([(path, reading()) for path, reading in some])

    def _reading(self, path: Path) -> Callable[[], MadeOrNot | MediaError]:
        """Return what waits for a file to be decoded, which begins now where there is a fence."""
        whole = path.absolute()  # the processes stay in the folder in which they started
        if self._fence is None:
            return partial(read_here, whole, self.spec.views)
        return partial(ended, self._fence.submit(read_any, whole, self.spec.views), self._limit_s)

    def _predict_batch(
        self, some: Sequence[tuple[Path, MadeOrNot | MediaError]]
    ) -> Iterator[Prediction]:
        """Yield the predictions of some files, scored together."""
        views = self.spec.views
        made = [
            dict.fromkeys(views, reading) if isinstance(reading, MediaError) else reading
            for _, reading in some
        ]
        arrays = {
            name: np.stack([_array(view, of_file[name]) for of_file in made])
            for name, view in views.items()
        }

        def source_for(member: ModelSpec) -> DecodedViews:
            own = {name: arrays[name] for name in member.views}
            return DecodedViews(member, own, device=self.device)

        whole = scores_of(self.spec, self.model, source_for, batch_size=BATCH_SIZE)
        if not np.isfinite(whole).all():
            raise BundleError(f"The model gives no number of {some[0][0]} or the next few files.")
        scores = tempered(whole, self.temperature).tolist()
        for (path, _), of_file, value in zip(some, made, scores, strict=True):
            failed = {name: why for name, why in of_file.items() if isinstance(why, MediaError)}
            _tell(path, failed)
            yield Prediction(path, value, failed, len(failed) == len(views))


def _array(view: View, made: Made | MediaError) -> Array:
    return view.neutral() if isinstance(made, MediaError) else made.array


def _tell(path: Path, failed: Mapping[str, MediaError]) -> None:
    for name, why in failed.items():
        say(f"{path}: {why}; a neutral picture stands for its {name}.")
    for text in {why.traceback for why in failed.values() if isinstance(why, UnexpectedError)}:
        say(text)


_Filled = tuple[bytes, Callable[[bytes], bool]]
"""A table of predictions, and whether other bytes are one of the same files."""


def main(bundle: Path, arguments: Sequence[str]) -> int:
    """Run a bundle's command line; return its exit code."""
    parser = argparse.ArgumentParser(
        prog="predict.py",
        description="Score media files, or every file that a prediction template names: "
        "the probability of each to be fake.",
    )
    parser.add_argument("files", nargs="*", type=Path, help="media files")
    parser.add_argument("--out", required=True, type=Path, help="CSV file to write")
    parser.add_argument("--template", type=Path, help="prediction template to fill in")
    parser.add_argument("--media", type=Path, help="folder of the files that the template names")
    parser.add_argument("--device", default="cpu", help="torch device (cpu)")
    parser.add_argument(
        "--jobs",
        type=int,
        help="decoding processes (one a core); 0: decode in this process, without limits",
    )
    given = parser.parse_args(arguments)
    if bool(given.files) == bool(given.template) or bool(given.template) != bool(given.media):
        parser.error("give either files, or --template with --media")
    if given.jobs is not None and given.jobs < 0:
        parser.error("--jobs takes 0 or more")
    try:
        table, is_earlier = (_of_template if given.template else _of_files)(bundle, given)
        if write_out(given.out, table, is_earlier):
            say(f"{given.out} held earlier predictions: they were replaced.")
    except WorkbenchError as error:
        print(f"error: {visible_lines(str(error))}", file=sys.stderr)
        return 1
    except UnicodeEncodeError as error:
        print(
            f"error: a file is called {error.object!a}, and names of files are {error.encoding} "
            "here. Set PYTHONUTF8=1 in the environment.",
            file=sys.stderr,
        )
        return 1
    return 0


def _of_template(bundle: Path, given: argparse.Namespace) -> _Filled:
    template, media = given.template, given.media
    if not media.is_dir():
        raise DataError(f"{media} is not a folder. Name the one that holds the template's files.")
    if not os.access(media, os.R_OK | os.X_OK):
        raise DataError(f"{media} cannot be read: permission denied. Name a folder of media.")
    columns = read_columns(bundle)
    sheet = read_sheet(template, name_column=columns[0], score_column=columns[1])
    names = list(dict.fromkeys(sheet.names))
    found = find_files(names, media, where=str(template))
    for line in found.said:
        say(line)
    files = [media / found.files.get(name, name) for name in names]
    is_earlier = partial(is_filled, sheet)
    check_out(given.out, inputs=[template, *files], bundle=bundle, is_earlier=is_earlier)
    table = fill(sheet, dict(zip(names, _scores(bundle, files, given), strict=True)))
    return table, is_earlier


def _of_files(bundle: Path, given: argparse.Namespace) -> _Filled:
    files = given.files
    sheet = named_sheet(read_columns(bundle), files)
    check_files(files)
    is_earlier = partial(is_filled, sheet)
    check_out(given.out, inputs=files, bundle=bundle, is_earlier=is_earlier)
    table = fill(sheet, dict(zip(sheet.names, _scores(bundle, files, given), strict=True)))
    return table, is_earlier


def _scores(bundle: Path, files: Sequence[Path], given: argparse.Namespace) -> list[float]:
    """Return the score of each file, and say how many have none of their own."""
    tally = Tally(len(files))
    scores: list[float] = []
    neutral: list[str] = []
    partly: list[str] = []
    with Predictor(bundle, given.device, num_decoders=given.jobs) as predictor:
        each = predictor.predictions(files)
        for found in track(each, "predict", unit="file", total=len(files)):
            scores.append(found.score)
            for why in found.failed.values():
                if isinstance(why, UnexpectedError):
                    tally.add(str(found.path), why.exception, why.traceback)
            tally.check()
            if found.failed:
                name, why = next(iter(found.failed.items()))
                of_view = "" if found.is_neutral else f"{name}, "
                told = f"{found.path} ({of_view}{why.status}: {why})"
                (neutral if found.is_neutral else partly).append(told)
    for those, what in (
        (neutral, "could not be read and got a neutral score"),
        (partly, "lack a view and were scored by the others"),
    ):
        if those:
            named = ", ".join(those[:NUM_NAMED]) + (", ..." if len(those) > NUM_NAMED else "")
            say(f"{len(those)} of {len(files)} files {what}: {named}")
    return scores
