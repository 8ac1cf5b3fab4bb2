"""Predictions for every media file of a folder, by a bundle's own program."""

import tempfile
from pathlib import Path

from workbench.console import say
from workbench.data.media_files import sizes_in
from workbench.data.names import file_cell
from workbench.data.unlabelled import media_among, skipped_told
from workbench.errors import DataError
from workbench.files import write_text
from workbench.submission.places import read_columns
from workbench.submission.predictions import csv_table
from workbench.submission.verify import run_predict


def predict_folder(bundle: Path, folder: Path, out: Path, device: str = "cpu") -> int:
    """Score the media files in `folder` into the CSV file `out`; return how many there are.

    Each is named as it is called within the folder; the files stand in the order of their names.

    Raises:
        BundleError: as `run_predict`.
        DataError: the folder holds no media, or `out` may not be written.
    """
    names, skipped = media_among(sizes_in(folder, "what is predicted"))
    if not names:
        raise DataError(f"{folder} holds no sound, picture or video by its ending. Name another.")
    for line in skipped_told(skipped, str(folder)):
        say(line)
    columns = read_columns(bundle)
    rows = [columns, *((file_cell(name), "0.5") for name in names)]
    with tempfile.TemporaryDirectory() as place:
        template = Path(place) / "template.csv"
        write_text(template, csv_table(rows))
        files = [folder / name for name in names]
        run_predict(bundle, files, out, device, template=(template, folder))
    return len(names)
