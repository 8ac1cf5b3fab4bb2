"""Records of trials and study folders made by hand, in the files and formats of a real search."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import yaml

from workbench.files import hash_file
from workbench.media.mel import Mel
from workbench.parts.model_spec import ModelSpec
from workbench.parts.optimizers import AdamW
from workbench.parts.weights import RANDOM
from workbench.selection.champion import Champion
from workbench.space.experiment import Experiment
from workbench.study import records
from workbench.study.folder import StudyFolder, StudyInfo
from workbench.study.records import TrialRow, read_trials
from workbench.study.storage import open_storage
from workbench.trial.metrics import objective_metrics
from workbench.trial.recipe import MetricName, Objective, Recipe
from workbench.trial.result import Epoch, Result, State, TrialFolder
from workbench.trial.training_spec import TrainingSpec

OPTUNA_STATES = {state: number for number, state in records.STATES.items()}
MEL = Mel(num_mels=16, image_px=32)


def row(number: int, objective: float | None = None, **fields: Any) -> TrialRow:
    """Return a row that no folder stands behind."""
    whole: dict[str, Any] = {
        "state": "complete",
        "reason": "",
        "recipe": f"{number:012x}",
        "metrics": {},
        "epochs": (),
        "params_thop": None,
        "params_true": None,
        "seconds": 1.0,
        "drawn": {},
        "backbone": "resnet18",
        "views": ("mel",),
        "image_px": 32,
        "run_id": None,
    }
    return TrialRow(number=number, objective=objective, **(whole | fields))


def champion(number: int = 0, **fields: Any) -> Champion:
    """Return what the promotion of a trial leaves."""
    whole: dict[str, Any] = {
        "sentence": "It was ahead.",
        "study": "made",
        "recipe": f"{number:012x}",
        "objective": Objective(),
        "value": 0.9,
        "standard_error": None,
        "chosen_by": "best",
        "who": "somebody",
        "when": "2025-02-03T04:05:06+00:00",
        "why": "It has the best.",
        "model_name": "made",
        "model_version": "1",
        "params_thop": None,
        "params_true": None,
    }
    return Champion(number=number, **(whole | fields))


def normal_scores(
    shift: float, *, seed: int, num: int = 200, noise: float = 0.3
) -> tuple[list[int], list[float]]:
    """Return targets and scores of `num` samples; `shift` parts the classes.

    All seeds share the difficulty of the samples: only `noise` tells two models of a shift apart.
    """
    difficulty = np.random.default_rng(0).normal(size=num)
    targets = np.arange(num) % 2
    own = np.random.default_rng(seed).normal(size=num)
    logits = difficulty + shift * (targets - 0.5) * 2 + noise * own
    return targets.tolist(), (1 / (1 + np.exp(-logits))).tolist()


def write_weights(files: TrialFolder) -> None:
    """Write weights of a trial, which no model has, and note them as a training does."""
    files.weights.write_bytes(bytes(10))
    result = files.read_result()
    assert result is not None
    noted = {"weights_sha256": hash_file(files.weights)}
    files.write_result(result.model_copy(update=noted))


class MadeStudy:
    """A study folder that trials can be added to."""

    def __init__(
        self,
        root: Path,
        name: str = "made",
        metric: MetricName = "auc",
        *,
        objective: Objective | None = None,
        constraints: Mapping[str, Mapping[str, float | str]] | None = None,
        rulebook: Mapping[str, Any] | None = None,
        data: Mapping[str, Any] | None = None,
    ) -> None:
        self.folder = StudyFolder(root / name)
        self.folder.path.mkdir(parents=True)
        self.objective = objective or Objective(metric=metric)
        about_study = {
            "name": "made",
            "views": {"mel": MEL},
            "search_space": "space.yaml",
            "objective": self.objective,
            "constraints": constraints or {},
            "rulebook": rulebook or {},
            "data": data or {},
        }
        experiment = Experiment.model_validate(about_study)
        about = {"experiment": experiment.model_dump(mode="json"), "space": {}}
        self.folder.experiment_file.write_text(yaml.safe_dump(about), encoding="utf-8")
        self.folder.write_info(
            StudyInfo(
                name=name,
                id="0" * 32,
                experiment="made.yaml",
                data="data",
                fingerprint="0123456789ab",
                seed=0,
                created="2025-01-01T00:00:00+00:00",
            )
        )
        self._study = optuna.create_study(
            study_name=name,
            storage=open_storage(self.folder),
            direction=self.objective.direction,
        )

    @property
    def rows(self) -> list[TrialRow]:
        """The trials so far."""
        return read_trials(self.folder)

    def add(
        self,
        targets: Sequence[int] = (),
        scores: Sequence[float] = (),
        *,
        state: State = "complete",
        reason: str = "",
        drawn: Mapping[str, Any] | None = None,
        backbone: str = "test_resnet",
        num_epochs: int = 1,
        seconds: float = 10.0,
        run: str | None = None,
        names: Sequence[str] | None = None,
        slices: Mapping[str, Sequence[int]] | None = None,
    ) -> Recipe:
        """Add a trial whose last epoch scored the samples so; return its recipe.

        `slices` are those besides `val`: which of the samples each has, by its name.
        """
        number = len(self._study.get_trials(deepcopy=False))
        recipe = Recipe(
            data="0123456789ab",
            model=ModelSpec(
                views={"mel": MEL},
                backbone=backbone,
                weights=RANDOM,
                image_px=32,
            ),
            training=TrainingSpec(
                optimizer=AdamW(lr=1e-3),
            ),
            objective=self.objective,
            seed=number,
        )
        files = self.folder.trial(recipe.uid)
        files.write_recipe(recipe)
        epochs: list[Epoch] = []
        metrics: dict[MetricName, float] = {}
        if targets:
            y, p = np.asarray(targets), np.asarray(scores)
            scored = {name: (y[list(some)], p[list(some)]) for name, some in (slices or {}).items()}
            metrics = objective_metrics(self.objective, {"val": (y, p), **scored})
            whole = metrics[self.objective.metric]
            for epoch in range(1, num_epochs + 1):
                so_far = whole - 0.15 * (num_epochs - epoch) / num_epochs
                epochs.append(
                    Epoch(
                        epoch=epoch,
                        train_loss=0.5,
                        lr=1e-3,
                        metrics={str(k): v for k, v in metrics.items()},
                        objective=so_far,
                        seconds=seconds / num_epochs,
                    )
                )
            self._write_scores(recipe, targets, scores, names, slices)
        objective = metrics.get(self.objective.metric)
        if targets or state == "pruned":
            files.write_result(
                Result(
                    recipe=recipe.uid,
                    state=state,
                    reason=reason,
                    epochs=tuple(epochs),
                    best_epoch=num_epochs if epochs else None,
                    objective=objective,
                    metrics={str(k): v for k, v in metrics.items()},
                    seconds=seconds,
                    recipe_sha256=hash_file(files.recipe),
                )
            )
        self._enter(recipe, state, reason, objective, drawn or {}, seconds, run)
        return recipe

    def _write_scores(
        self,
        recipe: Recipe,
        targets: Sequence[int],
        scores: Sequence[float],
        names: Sequence[str] | None,
        slices: Mapping[str, Sequence[int]] | None = None,
    ) -> None:
        val = pd.DataFrame(
            {
                "slice": "val",
                "name": names or [f"clip{index:05d}.mp4" for index in range(len(targets))],
                "score": scores,
                "target": np.asarray(targets, np.int8),
            }
        )
        # The scores of another slice, which would spoil every AUC if they were read.
        test = val.assign(slice="test", score=0.5, target=np.int8(-1))
        others = [val.iloc[list(some)].assign(slice=name) for name, some in (slices or {}).items()]
        whole = pd.concat([test, val, *others], ignore_index=True)
        self.folder.trial(recipe.uid).write_scores(whole)

    def _enter(
        self,
        recipe: Recipe,
        state: State,
        reason: str,
        objective: float | None,
        drawn: Mapping[str, Any],
        seconds: float,
        run: str | None,
    ) -> None:
        options: dict[str, optuna.distributions.BaseDistribution] = {}
        for key, value in drawn.items():
            if isinstance(value, float):
                options[key] = optuna.distributions.FloatDistribution(1e-6, 10.0, log=True)
            else:
                # The journal wants one set of choices for a dimension.
                options[key] = optuna.distributions.CategoricalDistribution(CHOICES[key])
        self._study.add_trial(
            optuna.trial.create_trial(
                state=OPTUNA_STATES[state],
                value=objective if state == "complete" else None,
                params=dict(drawn),
                distributions=options,
                user_attrs={
                    records.UID: recipe.uid,
                    records.RUN: run,
                    records.REASON: reason,
                    records.SECONDS: seconds,
                    records.THOP: 1_000_000,
                    records.TRUE: 1_234_567,
                },
            )
        )


CHOICES: dict[str, list[Any]] = {
    "backbone": [
        "resnet18",
        "convnext_tiny.fb_in22k_ft_in1k",
        "efficientnet_lite0",
        "vit_base_patch16_224.augreg2_in21k_ft_in1k",
        "<a href='http://evil.example'>x</a>",
    ],
    "batch_size": [16, 32, 64],
    "views": ["mel", "frames+mel"],
    "frozen": [True, False],
    "optimizer": ["adamw", "sgd(momentum=0.9)"],
}
