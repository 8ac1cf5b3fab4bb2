"""The frames of media files scored by a bundle."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd

from workbench.api.prediction import paths_of
from workbench.console import say, track
from workbench.data.media_files import sizes_in
from workbench.data.unlabelled import media_among
from workbench.errors import BundleError, MediaError
from workbench.fence import num_cores
from workbench.media.decoders import FILE_LIMIT_S, decoders, ended, read_any
from workbench.media.view import MadeOrNot, View
from workbench.scoring.frame_scores import frames_of, scores_by_frame, seconds_of
from workbench.scoring.temperature import tempered
from workbench.submission.api import MOST_DECODERS, Predictor
from workbench.submission.paths import check_files
from workbench.submission.verify import check_bundle

_AT_ONCE = 16
"""Files whose arrays are held."""


def frame_scores(
    bundle: str | Path, files: str | Path | Iterable[str | Path], *, device: str = "cpu"
) -> pd.DataFrame:
    """Score each frame of media files by a bundle's model: which second of a file looks fake.

    A frame's score is what the model says of a file that shows this frame alone, with its sound.
    The weights are the bundle's and the code is this program's, so the bundle's own is not run.

    Args:
        bundle: The bundle's folder.
        files: Media files, or one folder of them.
        device: A torch device.

    Returns:
        (frames of all files, 3): `name` of the file, as `predict` has it, `second` at which the
        frame is on screen, and `score`, its probability of being fake. A file without a
        picture that can be read has no rows, and a line on stderr says so.

    Raises:
        BundleError: the bundle was changed, or its model cannot be built here, or reads no view of
            several frames.
        DataError: there is no file, or one does not exist.

    Example:
        >>> wb.frame_scores("bundle", "clip.mp4").nlargest(3, "score")
    """
    check_bundle(Path(bundle))
    if isinstance(files, str | Path) and Path(files).is_dir():
        names, _ = media_among(sizes_in(Path(files), "what is scored"))
        paths = [Path(files, name) for name in names]
    else:
        paths = paths_of(files)
        times = Counter(path.name for path in set(paths))
        names = [path.name if times[path.name] == 1 else str(path) for path in paths]
    check_files(paths)
    rows = []
    with Predictor(Path(bundle), device, num_decoders=0) as predictor:
        spec = predictor.spec
        if not frames_of(spec.views):
            raise BundleError(
                f"No view of the model of {bundle} has more than one frame "
                f"({', '.join(spec.views)}). Score whole files by `workbench predict`."
            )
        each = zip(names, paths, _decoded(paths, spec.views), strict=True)
        for name, path, made in track(each, "frames", unit="file", total=len(paths)):
            lacking = [made[view] for view in frames_of(spec.views)]
            if all(isinstance(why, MediaError) for why in lacking):
                say(f"{path}: {lacking[0]}; its frames have no scores.")
                continue
            arrays = {
                view: spec.views[view].neutral() if isinstance(one, MediaError) else one.array
                for view, one in made.items()
            }
            arrays = {view: array[None] for view, array in arrays.items()}
            [found] = scores_by_frame(spec, predictor.model, arrays, device=predictor.device)
            seconds = seconds_of(path, len(found))
            scores = tempered(found, predictor.temperature).tolist()
            rows += [(name, *each) for each in zip(seconds, scores, strict=True)]
    return pd.DataFrame(rows, columns=["name", "second", "score"])


def _decoded(paths: Sequence[Path], views: Mapping[str, View]) -> Iterator[MadeOrNot]:
    """Yield for each file its views, or why there are none."""
    with decoders(min(MOST_DECODERS, num_cores())) as fence:
        for start in range(0, len(paths), _AT_ONCE):
            some = paths[start : start + _AT_ONCE]
            waiting = [fence.submit(read_any, path.absolute(), views) for path in some]
            for reading in waiting:
                found = ended(reading, FILE_LIMIT_S)
                yield dict.fromkeys(views, found) if isinstance(found, MediaError) else found
