"""What a trial leaves: the results of its epochs, its end, its scores; and where they lie."""

import hashlib
import io
import pickle
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import torch
from pydantic import Field

from workbench.errors import DamagedFileError
from workbench.files import finished, hash_file, write_text
from workbench.trial.environment import Environment
from workbench.trial.recipe import Recipe
from workbench.validation import read_bytes, read_record
from workbench.values import Frozen

State = Literal["complete", "pruned", "failed", "paused"]
"""A paused trial waits with its checkpoint, and may go on; the others have ended."""


_PUT_BACK = "Put the file back; other trials do not need it."

_SCORES = ["slice", "name", "score", "target"]

_DAMAGE_OF_CHECKPOINT = (
    OSError,
    EOFError,
    ValueError,
    RuntimeError,
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    zlib.error,
)


class Epoch(Frozen):
    """One epoch of a trial."""

    epoch: int
    """Counted from 1."""

    train_loss: float
    lr: float
    """The learning rate of its last step."""

    metrics: dict[str, float]
    """Over the objective's slices."""

    objective: float
    seconds: float
    fold: int = 1
    """The fold that its training is without and measured on, from 1 on; where there are several,
    `epoch` counts on from one to the next."""

    compiled: bool = False
    """Whether its last step was compiled; see `trial.compiling`."""

    channels_last: bool | None = None
    """How weights and pictures lay in memory at its last step; unknown of older versions."""


class Result(Frozen):
    """How a trial ended."""

    recipe: str
    """The recipe's uid."""

    state: State
    reason: str = ""
    """Why it was pruned, paused or failed."""

    epochs: tuple[Epoch, ...] = ()
    best_epoch: int | None = None
    objective: float | None = None
    """At the best epoch; absent where no epoch ended."""

    metrics: dict[str, float] = Field(default_factory=dict)
    """At the best epoch, over the objective's slices."""

    by_slice: dict[str, dict[str, float]] = Field(default_factory=dict)
    """The metrics of a complete trial on every labelled slice of the data, by its name; unknown of
    older versions."""

    ms_per_file: float | None = None
    """What scoring took of a file, in milliseconds, from its stored views on."""

    seconds: float = 0.0
    device: str = ""
    peak_memory_bytes: int | None = None
    """On a CUDA device, else unknown."""

    estimated_memory_bytes: int | None = None
    """What a step was counted to take before it was trained; see `trial.memory`."""

    micro_batch: int | None = None
    """Most samples that went through the model at once; absent where whole batches did."""

    checkpointed: bool = False
    """Whether activations were computed twice instead of kept."""

    environment: Environment | None = None
    """Where it was trained, or trained last; unknown of older versions, and of what is no training.
    """

    recipe_sha256: str = ""
    """Of `recipe.json`; unknown of older versions."""

    weights_sha256: str = ""
    """Of `model.safetensors`, which has no checksum of its own; unknown of older versions."""

    scores_sha256: str = ""
    """Of `scores.parquet`; unknown of older versions."""


def best_epoch(recipe: Recipe, epochs: Sequence[Epoch]) -> Epoch | None:
    """Return the epoch whose weights are kept: with the best objective, of equals the earliest.

    Of several folds it is one of the first; of a refit the last.
    """
    if recipe.refit is not None:
        return epochs[-1] if epochs else None
    best = None
    for epoch in epochs:
        if epoch.fold != epochs[0].fold:
            break
        if best is None or recipe.objective.is_better(epoch.objective, best.objective):
            best = epoch
    return best


class ModelFolder:
    """The files of a trained model: what it is, its weights, its scores, and how it ended.

    Args:
        path: The folder.
        uid: Of what belongs there; if empty, anything does.
        record: Name of the file that says what the model is.
    """

    def __init__(self, path: Path, uid: str = "", *, record: str) -> None:
        self.path, self._uid = path, uid
        self.record = path / record
        self.result = path / "result.json"
        self.scores = path / "scores.parquet"
        self.weights = path / "model.safetensors"

    def write_result(self, result: Result) -> None:
        """Write how the trial ended; last of all its files, since it marks the end."""
        write_text(self.result, result.model_dump_json(indent=2) + "\n")

    def read_result(self) -> Result | None:
        """Return how the trial ended, or nothing while it has not.

        Raises:
            DamagedFileError: the file is not what was written, or is another trial's.
        """
        if not self.result.exists():
            return None
        result = read_record(Result, self.result, remedy=_PUT_BACK)
        if self._uid and result.recipe != self._uid:
            raise DamagedFileError(
                f"{self.result} is of another trial, of recipe {result.recipe}. {_PUT_BACK}"
            )
        return result

    def kept_result(self) -> Result | None:
        """Return how the trial ended; nothing also where the file is damaged."""
        try:
            return self.read_result()
        except DamagedFileError:
            return None

    def require_unchanged(self) -> None:
        """Raise DamagedFileError if the record or the weights are not what was written."""
        result = self.kept_result()
        if result is None:
            return
        for file, wanted in (
            (self.record, result.recipe_sha256),
            (self.weights, result.weights_sha256),
        ):
            if wanted and hash_file(file) != wanted:
                raise DamagedFileError(f"{file} is not what the trial wrote. {_PUT_BACK}")

    def has_other_weights(self, sha256: str) -> bool:
        """Say whether it was trained again since its weights had this SHA-256, as far as noted."""
        result = self.kept_result()
        if result is None or not sha256:
            return False
        return result.state != "complete" or result.weights_sha256 not in ("", sha256)

    def is_whole(self) -> bool:
        """Return whether record and weights are there and what was written, as far as noted.

        The whole file of weights is read.
        """
        try:
            self.require_unchanged()
        except (DamagedFileError, OSError):  # the disk's errors, too
            return False
        return self.weights.exists()

    def write_scores(self, scores: pd.DataFrame) -> None:
        """Write a row for each file of each slice: `slice`, `name`, `score`, `target`, `neutral`.

        A file is neutral where the model saw none of it: its score is that of a grey picture.
        """
        with finished(self.scores) as part:
            scores.to_parquet(part, index=False, write_page_checksum=True)

    def read_scores(self) -> pd.DataFrame:
        """Return what `write_scores` wrote.

        Raises:
            DamagedFileError: it is gone, or is not what was written.
        """
        data = read_bytes(self.scores, remedy=_PUT_BACK)
        result = self.kept_result()
        # Two trials may reach the same value, and score the test files otherwise.
        wanted = result.scores_sha256 if result else ""
        if wanted and hashlib.sha256(data).hexdigest() != wanted:
            raise DamagedFileError(f"{self.scores} is not what the trial wrote. {_PUT_BACK}")
        try:
            scores = pd.read_parquet(io.BytesIO(data), page_checksum_verification=True)
            sound = scores["score"].between(0, 1).all() and scores.columns.isin(_SCORES).sum() == 4
            sound = sound and not scores.duplicated(["slice", "name"]).any()
        # Arrow has an error of its own for every way in which a file can be damaged.
        except (OSError, ValueError, KeyError, MemoryError, RuntimeError, TypeError) as error:
            raise DamagedFileError(f"{self.scores} is damaged. {_PUT_BACK}") from error
        if not sound:
            raise DamagedFileError(f"{self.scores} is damaged. {_PUT_BACK}")
        return scores


class TrialFolder(ModelFolder):
    """The files of one trial.

    Args:
        path: The folder.
        uid: Of the recipe whose files belong there; if empty, those of any do.
    """

    def __init__(self, path: Path, uid: str = "") -> None:
        super().__init__(path, uid, record="recipe.json")
        self.recipe = self.record
        self.roc = path / "roc.png"
        self.pr = path / "pr.png"
        self.log = path / "log.txt"
        self.checkpoint = path / "checkpoint.pt"

    def fold_scores(self, fold: int) -> Path:
        """Return the file of the scores of one fold, while others are still trained."""
        return self.path / f"scores-{fold}.parquet"

    def drop_fold_scores(self, num_folds: int, *, with_weights: bool) -> None:
        """Remove what single folds left, and the first one's weights where the others failed."""
        for fold in range(1, num_folds + 1):
            self.fold_scores(fold).unlink(missing_ok=True)
        if with_weights:
            self.weights.unlink(missing_ok=True)

    def write_recipe(self, recipe: Recipe) -> None:
        """Write the recipe that this trial computes, unless it is there already."""
        if self.kept_recipe() != recipe:
            write_text(self.recipe, recipe.model_dump_json(indent=2) + "\n")

    def read_recipe(self) -> Recipe:
        """Return the recipe of this trial.

        Raises:
            DamagedFileError: it is gone, or is not what was written.
        """
        return read_record(Recipe, self.recipe, remedy=_PUT_BACK).named(self.path.name)

    def kept_recipe(self) -> Recipe | None:
        """Return the recipe of this trial; nothing where the file is gone or damaged."""
        try:
            return self.read_recipe()
        except DamagedFileError:
            return None

    def write_checkpoint(self, state: dict[str, Any]) -> None:
        """Write what a training needs to go on after its last whole epoch."""
        with finished(self.checkpoint) as part:
            torch.save(state, part)

    def read_checkpoint(self) -> dict[str, Any] | None:
        """Return what `write_checkpoint` wrote, on the CPU; nothing if the trial is not begun.

        Nothing also of a damaged one, which the trial's log says: it begins again.
        """
        if not self.checkpoint.exists():
            return None
        try:
            # Torch writes the checksums of a ZIP file, and does not look at them.
            with zipfile.ZipFile(self.checkpoint) as archive:
                if damaged := archive.testzip():
                    raise ValueError(f"{damaged} is not what was written")
            state: dict[str, Any] = torch.load(
                self.checkpoint, map_location="cpu", weights_only=True
            )
        except _DAMAGE_OF_CHECKPOINT as error:
            print(f"{self.checkpoint} is damaged ({error}): the trial begins again.", flush=True)
            return None
        return state
