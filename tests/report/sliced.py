"""A made study whose trials were scored on several slices, with the media that they are of."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from tests.media.clips import chirp, moving, write_media
from tests.selection.studies import MadeStudy, normal_scores
from workbench.data.prepared_table import write_prepared_table

NUM_FILES = 120
GENERATORS = ("espeak", "tacotron", "face-swap")
COPIES = ("jpeg50", "jpeg30", "half", "h264-32", "blur")
EVIL_GENERATOR = "<img src=http://evil.example/x.png onerror=alert(1)>"


def make_sliced(root: Path, *, num_trials: int = 6, evil: bool = False) -> MadeStudy:
    """Return a study of `num_trials`, of which each is better than the one before on `val`.

    Trial 0 alone knows the last generator. Degraded copies cost each trial more from copy to copy.

    Args:
        root: Folder to make it in.
        num_trials: Its trials.
        evil: Give one generator a name that would be HTML.
    """
    study = MadeStudy(root, "sliced")
    names = [f"clip{index:05d}.mp4" for index in range(NUM_FILES)]
    for number in range(num_trials):
        targets, scores = normal_scores(0.6 + 0.08 * number, seed=number, num=NUM_FILES)
        recipe = study.add(targets, scores, names=names, num_epochs=2)
        files = study.folder.trial(recipe.uid)
        files.write_scores(_with_slices(files.read_scores(), number, evil=evil))
    _write_media(study, root / "data", names)
    return study


def _with_slices(scores: pd.DataFrame, number: int, *, evil: bool) -> pd.DataFrame:
    val = scores[scores["slice"] == "val"].reset_index(drop=True)
    parts = [scores]
    for at, generator in enumerate(GENERATORS):
        name = EVIL_GENERATOR if evil and at == 0 else generator
        part = val[(val["target"] == 0) | (val.index // 2 % len(GENERATORS) == at)].copy()
        if generator == GENERATORS[-1] and number == 0:
            part.loc[part["target"] == 1, "score"] = 0.99
        parts.append(part.assign(slice=f"generators.{name}"))
    rng = np.random.default_rng(number)
    for at, copy in enumerate(COPIES, 1):
        logits = np.log(val["score"] / (1 - val["score"])) + rng.normal(0, 0.5 * at, len(val))
        parts.append(val.assign(slice=f"degraded.{copy}", score=1 / (1 + np.exp(-logits))))
    # All of one class: no AUC can be had of it.
    parts.append(val[val["target"] == 1].assign(slice="speakers.ada"))
    return pd.concat(parts, ignore_index=True)


def _write_media(study: MadeStudy, data: Path, names: list[str]) -> None:
    """Write a video, a sound and a picture, and let the files be those in turn."""
    folder = data / "valset"
    folder.mkdir(parents=True)
    video = write_media(data / "video.mp4", sound=chirp(2.5), pictures=moving(60, width=160))
    sound = write_media(data / "sound.m4a", sound=chirp(1.0))
    picture = data / "picture.png"
    Image.fromarray(moving(1, width=200, height=100)[0]).save(picture)
    made = (video, sound, picture)
    for index, name in enumerate(names):
        os.link(made[index % 3], folder / name)
    targets = [index % 2 for index in range(len(names))]
    table = pd.DataFrame({"split": "val", "name": names, "target": targets})
    table["path"] = [f"valset/{name}" for name in names]
    write_prepared_table(table, study.folder.manifest)
    info = study.folder.info().model_copy(update={"data": str(data)})
    study.folder.write_info(info)
