"""Media files scored by a bundle."""

from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from workbench.console import say
from workbench.data.delimited import csv_table
from workbench.data.media_files import sizes_in
from workbench.data.names import file_cell
from workbench.data.unlabelled import media_among, skipped_told
from workbench.errors import DataError
from workbench.files import write_text
from workbench.submission.places import read_columns
from workbench.submission.verify import run_predict


def predict(
    bundle: str | Path,
    files: str | Path | Iterable[str | Path],
    *,
    out: str | Path | None = None,
    device: str = "cpu",
) -> pd.DataFrame:
    """Score media files by a bundle alone: its own code and weights, in a process of its own.

    A bundle is a program: predict by those whose author you trust.

    Args:
        bundle: The bundle's folder.
        files: Media files, or one folder of them.
        out: A CSV file to write as well.
        device: A torch device.

    Returns:
        (files, 2), in the order of `files`, those of a folder in that of their names: the file's
        name and its probability of being fake, a float64, under the two names that the bundle's
        template has for them. A file that cannot be read gets a neutral score, and a line on stderr
        says so.

    Raises:
        BundleError: the bundle was changed, or its program failed; what that said is on stderr.
        DataError: there is no file, one does not exist, or `out` cannot be written.

    Example:
        >>> wb.predict("bundle", Path("clips").glob("*.mp4"))
    """
    with TemporaryDirectory(prefix="workbench-") as folder:
        target = Path(folder, "scores.csv") if out is None else Path(out)
        if isinstance(files, str | Path) and Path(files).is_dir():
            _predict_folder(Path(bundle), Path(files), target, device)
        else:
            run_predict(Path(bundle), paths_of(files), target, device)
        # A file may be called `NA` or `007.wav`, and scores are to be what they were to the bit.
        table = pd.read_csv(target, dtype=str, keep_default_na=False)
    score = table.columns[1]
    return table.assign(**{score: table[score].astype(float)})


def paths_of(files: str | Path | Iterable[str | Path]) -> list[Path]:
    """Return the files that were named; raise DataError if there are none."""
    each = [files] if isinstance(files, str | Path) else files
    if not (paths := [Path(file) for file in each]):
        raise DataError("There is no file to score. Name one, or a folder of them.")
    return paths


def _predict_folder(bundle: Path, folder: Path, out: Path, device: str) -> None:
    """Score the media files in `folder`, each named as within it, in the order of their names."""
    names, skipped = media_among(sizes_in(folder, "what is predicted"))
    if not names:
        raise DataError(f"{folder} holds no sound, picture or video by its ending. Name another.")
    for line in skipped_told(skipped, str(folder)):
        say(line)
    rows = [read_columns(bundle), *((file_cell(name), "0.5") for name in names)]
    with TemporaryDirectory() as place:
        template = Path(place) / "template.csv"
        write_text(template, csv_table(rows))
        files = [folder / name for name in names]
        run_predict(bundle, files, out, device, template=(template, folder))
