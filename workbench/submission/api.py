"""What a bundle does: score media files with the exported model, and nothing but its own files."""

import argparse
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from workbench.console import say, track, visible, visible_lines
from workbench.errors import BundleError, ConfigError, DataError, MediaError, WorkbenchError
from workbench.files import read_json, write_text
from workbench.media.reading import read_media
from workbench.media.view import Array
from workbench.parts.pixels import as_input, to_tensor
from workbench.submission.contents import RECIPE, WEIGHTS, read_contents
from workbench.submission.predictions import fill, read_sheet, table
from workbench.trial.recipe import Recipe
from workbench.trial.scoring import build_model, score
from workbench.values import build

BATCH_SIZE = 8
"""Files scored at once; small, so that any machine has the memory for it."""


class Predictor:
    """The model of a bundle, ready to score files. Nothing is downloaded.

    Args:
        bundle: The bundle's folder.
        device: A torch device.

    Raises:
        BundleError: the recipe or the weights are gone, damaged, or do not fit each other.
    """

    def __init__(self, bundle: Path, device: str = "cpu") -> None:
        try:
            self._device = torch.device(device)
        except RuntimeError as error:
            raise ConfigError(f"{device!r} is no torch device. Write e.g. cpu or cuda.") from error
        try:
            recipe: Recipe = build(Recipe, read_json(bundle / RECIPE), where=RECIPE)
            model = build_model(recipe, load=False)
            model.load_state_dict(load_file(bundle / WEIGHTS))
        except (OSError, ValueError, RuntimeError, SafetensorError, ConfigError) as error:
            said = " ".join(str(error).split())[:300].rstrip(".")
            raise BundleError(
                f"The model of {bundle} cannot be built ({said}). Export the bundle again."
            ) from error
        try:
            self._model = model.to(self._device).eval()
        except (RuntimeError, AssertionError) as error:
            said = str(error).splitlines()[0]
            raise ConfigError(f"{device} cannot be used ({said}). Use the device cpu.") from error
        self._views, self._image_px, self._tta = recipe.views, recipe.image_px, recipe.tta

    def predict(self, path: str | Path) -> float:
        """Return the probability that the media file `path` is fake."""
        return self.predict_many([path])[0]

    def predict_many(self, paths: Iterable[str | Path]) -> list[float]:
        """Return the probability for each of `paths` that it is fake."""
        return list(self.predict_each(paths))

    def predict_each(self, paths: Iterable[str | Path]) -> Iterator[float]:
        """Yield the probability for each of `paths`, some at a time.

        As in the study, a file that is missing, empty or broken is scored by neutral pictures; a
        line on stderr says so.
        """
        every = map(Path, paths)
        while some := list(islice(every, BATCH_SIZE)):
            decoded = [self._decode(path) for path in some]
            rows = {name: np.stack([arrays[name] for arrays in decoded]) for name in self._views}
            num_segments = max(view.num_segments for view in self._views.values())
            scores = [self._score(rows, number) for number in range(num_segments)]
            yield from torch.stack(scores).mean(dim=0).tolist()

    def _score(self, rows: Mapping[str, Array], segment: int) -> Tensor:
        """Return the scores of one segment of some files."""
        inputs = {}
        for name, arrays in rows.items():
            # A view of the whole file stands beside every segment of the others.
            those = arrays[:, segment if arrays.shape[1] > 1 else 0]
            inputs[name] = as_input(to_tensor(those, self._image_px, self._device))
        return score(self._model, inputs, self._tta)

    def _decode(self, path: Path) -> dict[str, Array]:
        arrays = {}
        for name, made in read_media(path, self._views).made.items():
            if isinstance(made, MediaError):
                arrays[name] = self._views[name].neutral()
                say(f"{visible(str(path))}: {made}; a neutral picture stands for its {name}.")
            else:
                arrays[name] = made.array
        return arrays


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
    given = parser.parse_args(arguments)
    if bool(given.files) == bool(given.template) or bool(given.template) != bool(given.media):
        parser.error("give either files, or --template with --media")
    try:
        if given.template:
            text = _of_template(bundle, given.template, given.media, given.device)
        else:
            text = _of_files(bundle, given.files, given.device)
        try:
            write_text(given.out, text)
        except OSError as error:
            raise DataError(f"{given.out} cannot be written: {error.strerror}.") from error
    except WorkbenchError as error:
        print(f"error: {visible_lines(str(error))}", file=sys.stderr)
        return 1
    return 0


def _of_template(bundle: Path, template: Path, media: Path, device: str) -> str:
    if not media.is_dir():
        raise DataError(f"{media} is not a folder. Name the one that holds the template's files.")
    contents = read_contents(bundle)
    sheet = read_sheet(
        template, name_column=contents.name_column, score_column=contents.score_column
    )
    names = list(dict.fromkeys(sheet.names))
    scores = _scores(bundle, [media / name for name in names], device)
    return fill(sheet, dict(zip(names, scores, strict=True)))


def _of_files(bundle: Path, files: Sequence[Path], device: str) -> str:
    contents = read_contents(bundle)
    scores = _scores(bundle, files, device)
    # A template names files within one folder. Where that does not tell two files apart, their
    # paths do.
    times = Counter(path.name for path in set(files))
    names = [path.name if times[path.name] == 1 else str(path) for path in files]
    rows = [(name, repr(value)) for name, value in zip(names, scores, strict=True)]
    return table([(contents.name_column, contents.score_column), *rows])


def _scores(bundle: Path, files: Sequence[Path], device: str) -> list[float]:
    predictor = Predictor(bundle, device)
    each = predictor.predict_each(files)
    return list(track(each, "predict", unit="file", total=len(files)))
