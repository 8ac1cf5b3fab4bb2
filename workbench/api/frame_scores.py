"""The frames of media files scored by a bundle."""

import csv
from collections import Counter
from collections.abc import Collection, Iterable
from functools import partial
from io import StringIO
from pathlib import Path

import pandas as pd

from workbench.api.prediction import paths_of
from workbench.console import say, track
from workbench.data.delimited import csv_table
from workbench.data.media_files import sizes_in
from workbench.data.names import file_cell
from workbench.data.unlabelled import media_among, skipped_told
from workbench.errors import BundleError, DataError, MediaError
from workbench.parts.plugins import PACKAGE
from workbench.parts.temperature import tempered
from workbench.parts.weights import OWN_VERSIONS
from workbench.scoring.frame_scores import frames_of, score_frames
from workbench.submission.api import Predictor
from workbench.submission.contents import Contents
from workbench.submission.paths import check_files, check_out, write_out
from workbench.submission.places import CODE
from workbench.submission.predictions import are_written
from workbench.submission.verify import check_bundle

_COLUMNS = ("name", "second", "score")


def frame_scores(
    bundle: str | Path,
    files: str | Path | Iterable[str | Path],
    *,
    out: str | Path | None = None,
    device: str = "cpu",
) -> pd.DataFrame:
    """Score each frame of media files by a bundle's model: which second of a file looks fake.

    A frame's score is what the model says of a file that shows this frame alone, with its sound.
    The weights are the bundle's and the code is this program's, so the bundle's own is not run.

    Args:
        bundle: The bundle's folder.
        files: Media files, or one folder of them.
        out: A CSV file to write as well.
        device: A torch device.

    Returns:
        (frames of all files, 3): `name` of the file, as `predict` has it, `second` at which the
        frame is on screen, and `score`, its probability of being fake. A file without a
        picture that can be read has no rows, and a line on stderr says so.

    Raises:
        BundleError: the bundle was changed, or its model cannot be built here, as that of a
            backbone of a plugin that does not run here; or it reads no view of several frames.
        DataError: there is no file, one does not exist, or `out` cannot be written.

    Example:
        >>> wb.frame_scores("bundle", "clip.mp4").nlargest(3, "score")
    """
    _require_own_backbones(Path(bundle), check_bundle(Path(bundle)))
    if isinstance(files, str | Path) and Path(files).is_dir():
        names, skipped = media_among(sizes_in(Path(files), "what is scored"))
        if not names:
            raise DataError(
                f"{files} holds no sound, picture or video by its ending. Name another."
            )
        for line in skipped_told(skipped, str(files)):
            say(line)
        paths = [Path(files, name) for name in names]
    else:
        paths = paths_of(files)
        times = Counter(path.name for path in set(paths))
        names = [path.name if times[path.name] == 1 else str(path) for path in paths]
    check_files(paths)
    cells = [*map(file_cell, names)]
    is_earlier = partial(_is_earlier, cells=cells)
    if out is not None:
        check_out(Path(out), inputs=paths, bundle=Path(bundle), is_earlier=is_earlier)
    rows = []
    with Predictor(Path(bundle), device, num_decoders=0) as predictor:
        spec = predictor.spec
        if not frames_of(spec.views):
            raise BundleError(
                f"No view of the model of {bundle} has more than one frame "
                f"({', '.join(spec.views)}). Score whole files by `workbench predict`."
            )
        scored = score_frames(spec, predictor.model, paths, device=predictor.device)
        each = zip(cells, paths, scored, strict=True)
        for name, path, found in track(each, "frames", unit="file", total=len(paths)):
            if isinstance(found, MediaError):
                say(f"{path}: {found}; its frames have no scores.")
                continue
            values = tempered([score for _, score in found], predictor.temperature).tolist()
            seconds = (second for second, _ in found)
            rows += [(name, *each) for each in zip(seconds, values, strict=True)]
    table = pd.DataFrame(rows, columns=[*_COLUMNS])
    if out is not None:
        text = csv_table([_COLUMNS, *([*map(str, row)] for row in rows)])
        write_out(Path(out), text.encode(), is_earlier)
    return table


def _is_earlier(data: bytes, *, cells: Collection[str]) -> bool:
    """Say whether `data` are scores of frames of the files `cells`, as they are written here."""
    try:
        rows = [*csv.reader(StringIO(data.decode(), newline=""))]
    except (UnicodeDecodeError, csv.Error):
        return False
    if csv_table(rows).encode() != data or not rows or {*map(len, rows)} != {len(_COLUMNS)}:
        return False
    header, *others = rows
    return (
        tuple(header) == _COLUMNS
        and {name for name, _, _ in others} <= {*cells}
        and are_written([score for _, _, score in others])
    )


def _require_own_backbones(bundle: Path, contents: Contents) -> None:
    """Refuse a model of backbones that a plugin brings, unless this very version of it runs here.

    By another version of the file the model would be another one with the same weights.
    """
    for name, record in contents.files.items():
        is_plugin = name.startswith(f"{CODE}/{PACKAGE.replace('.', '/')}/")
        if is_plugin and record.sha256[:12] not in OWN_VERSIONS.values():
            raise BundleError(
                f"The model of {bundle} has a backbone of its user's own, by {name}, and that does "
                "not run here, or in another version. Open its study first, or score whole files "
                "by `workbench predict`."
            )
