"""A finished study of one trial on a few made clips, as a search and a promotion leave it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from tests.media.clips import chirp, moving, write_media
from tests.selection.studies import champion
from workbench.data.manifest import Layout, read_manifest
from workbench.data.prepare import prepare
from workbench.files import write_text
from workbench.media.frames import Frames
from workbench.media.mel import Mel
from workbench.media.views import AnyView
from workbench.parts.model_spec import ModelSpec
from workbench.parts.optimizers import AdamW
from workbench.parts.plugins import Plugin
from workbench.parts.weights import RANDOM
from workbench.space.experiment import Experiment
from workbench.study.folder import StudyFolder
from workbench.trial.recipe import Recipe
from workbench.trial.train import run_trial
from workbench.trial.training_spec import TrainingSpec

# A row twice, a column more than the competition's, a cell with a comma, and files that are broken,
# empty, missing and without sound.
TEMPLATE = """\
video_name,phase,y_pred
t2.mp4,two,0.5
t0.mp4,"one, early",0.5
broken.mp4,one,0.5
t0.mp4,again,0.5
empty.mp4,one,0.5
mute.mp4,one,0.5
missing.mp4,one,0.5
t1.mp4,one,0.5
"""

VIEWS: dict[str, AnyView] = {
    "mel": Mel(num_mels=32, image_px=48),
    "frames": Frames(num_frames=2, image_px=32),
}


SPACE = {
    "views": [*VIEWS],
    "backbone": "resnet10t",
    "pretrained": "none",
    "image_px": 40,
    "batch_size": 4,
    "num_epochs": 1,
    "precision": "float32",
    "optimizer": {"kind": "adamw", "lr": 1e-3},
}


@dataclass(frozen=True)
class TrainedStudy:
    """The study's folder and its data folder."""

    folder: StudyFolder
    data: Path


def make_study(
    root: Path, *, backbone: str = "resnet10t", plugins: tuple[Plugin, ...] = ()
) -> TrainedStudy:
    """Make clips, prepare them, train one trial, and write what a promotion writes."""
    data = _write_data(root / "data")
    manifest = read_manifest(data, Layout(), cache=root / "cache")
    prepared = prepare(manifest, data, VIEWS, cache=root / "cache", jobs=1)
    folder = StudyFolder(root / "experiments" / "made")
    recipe = Recipe(
        data=manifest.fingerprint,
        plugins=plugins,
        model=ModelSpec(
            views=VIEWS,
            backbone=backbone,
            weights=RANDOM,
            image_px=40,
        ),
        training=TrainingSpec(
            optimizer=AdamW(lr=1e-3),
            batch_size=4,
            num_epochs=1,
        ),
    )
    trial = folder.trial(recipe.uid)
    result = run_trial(recipe, prepared, trial.path, device="cpu", report=lambda _: "go on")
    assert result.state == "complete", result.reason
    assert result.objective is not None
    write_text(folder.template, TEMPLATE)
    prepared.save(folder.path)
    experiment = Experiment(name="made", views=VIEWS, search_space="unused.yaml", plugins=plugins)
    space = {**SPACE, "backbone": backbone}
    about = {"experiment": experiment.model_dump(mode="json"), "space": space}
    write_text(folder.experiment_file, yaml.safe_dump(about, sort_keys=False))
    record = champion(
        7,
        recipe=recipe.uid,
        value=result.objective,
        who="a test",
        when="2026-01-01T00:00:00+00:00",
        why="It is the only one.",
        sentence="It is the only complete trial.",
        params_thop=9_876_543,
        params_true=9_999_999,
    )
    write_text(folder.champion, record.model_dump_json(indent=2) + "\n")
    return TrainedStudy(folder, data)


def _write_data(folder: Path) -> Path:
    for split in ("train", "val"):
        (folder / f"{split}set").mkdir(parents=True)
        lines = ["video_name,target"]
        for index in range(4):
            _write_clip(folder / f"{split}set" / f"{split}{index}.mp4", index)
            lines.append(f"{split}{index}.mp4,{index % 2}")
        write_text(folder / f"{split}_label.txt", "\n".join(lines) + "\n")
    test = folder / "testset"
    test.mkdir()
    for index in range(3):
        _write_clip(test / f"t{index}.mp4", 10 + index)
    write_media(test / "mute.mp4", pictures=moving(10))
    (test / "broken.mp4").write_bytes((test / "t0.mp4").read_bytes()[:300])
    (test / "empty.mp4").touch()
    write_text(folder / "prediction.txt.csv", TEMPLATE)
    return folder


def _write_clip(path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    pictures = np.roll(moving(10), int(rng.integers(40)), axis=2) // np.uint8(rng.integers(1, 5))
    sound = np.roll(chirp(1.0, loud=float(rng.uniform(0.1, 0.9))), int(rng.integers(20_000)), 0)
    write_media(path, sound=sound, pictures=pictures)
