"""What a bundle holds so that its training can be repeated, and held against what was exported."""

import hashlib
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

import pandas as pd
from pydantic import AfterValidator, Field, model_validator

from workbench.data.dataset import NAME
from workbench.data.metadata import column_of
from workbench.data.out_of_fold import FOLD
from workbench.errors import BundleError, DamagedFileError
from workbench.parts.pack_spec import PackSpec
from workbench.scoring.slices import TEST
from workbench.study.packs import title_within
from workbench.study.soups import Soup
from workbench.trial.environment import Environment
from workbench.trial.recipe import Objective, Recipe
from workbench.validation import read_record
from workbench.values import Frozen

FOLDER = "training"
"""Folder of a bundle: the record, and of each study its experiment and its clusters."""

RECORD = f"{FOLDER}/training.json"
TRAIN_PROGRAM = "train.py"

REPEATABILITY = 1.96 * math.sqrt(2)
"""Two runs of one recipe differ by less than so many standard deviations in 95 of 100 cases: the
repeatability limit of ISO 5725-6."""

_SHA = "^([0-9a-f]{64})?$"


class FilesDigest(Frozen):
    """Which files a split has, and what their labels are."""

    num_files: int
    num_fake: int
    labels: str = Field(pattern=_SHA)
    """SHA-256 of the names, the labels and what else the training goes by, such as folds."""

    media: str = Field(pattern=_SHA)
    """SHA-256 of the names with the SHA-256 of what each file holds."""

    order: str = ""
    """SHA-256 of the names as they stand in the table, by which a training draws; empty where an
    older version did not note it."""

    def is_as(self, other: "FilesDigest") -> bool:
        """Say whether these are the same files with the same labels, in whatever order."""
        return self.model_copy(update={"order": other.order}) == other


class SeedSpread(Frozen):
    """What other seeds move, as the repeats of the study's finalists tell."""

    num_repeats: int
    deviation: float
    """The standard deviation of the objective over repeats of one recipe, pooled."""

    scores: float
    """The largest mean difference of the test scores of two repeats of one recipe."""


class TrainedModel(Frozen):
    """One training, with what it came to."""

    title: str
    """What a person calls it: `trial 5`, `repeat 5.2`, `refit of trial 5`."""

    study: str = Field(pattern=f"^{NAME}$")
    uid: str = Field(pattern="^[0-9a-f]{12}$")
    recipe: Recipe
    value: float | None
    """Of the recipe's objective; none of a refit, which nothing measured."""

    weights_sha256: str = Field(pattern=_SHA)
    """Of its file of weights."""

    scores_sha256: str = Field(pattern=_SHA)
    """Of its scores; see `digest_of_scores`."""

    environment: Environment | None
    """Where it was trained; unknown of older versions."""

    device: str
    """What it was trained on: `cpu`, or the name of a GPU."""

    micro_batch: int | None = None
    checkpointed: bool = False
    compiled: bool = False
    code_hash: str = ""
    """Of the program that trained it; unknown of some."""


class TrainingRecord(Frozen):
    """All trainings of a bundle's model."""

    format: Literal[1] = 1
    recipe: str
    """The uid of the exported model."""

    version: str
    """Of the program that exported it."""

    code_hash: str
    wheel: Annotated[str, AfterValidator(lambda name: _plain(name))]
    """The file in the bundle that installs this program."""

    models: Annotated[tuple[TrainedModel, ...], Field(min_length=1)]
    """The model, or the members of the pack in its order; of a soup, each trial in it."""

    soups: tuple[Soup, ...] = ()
    """The soup that the model is, or those that the pack has as members."""

    members: tuple[tuple[str, str], ...] = ()
    """The study and the uid of the model, or of each member of the pack; where it has no soup,
    those of `models`."""

    repeats: tuple[TrainedModel, ...] = ()
    """The other seeds of the finalist by whose mean the model was chosen."""

    pack: PackSpec | None = None
    data: dict[str, dict[str, FilesDigest]]
    """The splits of each study's data."""

    unread: dict[str, dict[str, dict[str, tuple[str, ...]]]] = Field(default_factory=dict)
    """What each study had no views of; see `unread_views`. Nothing where an older version noted
    none."""

    folders: dict[str, dict[str, str]] = Field(default_factory=dict)
    """The fingerprints of the labelled folders that each study scores on, by slice."""

    used_columns: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Columns of the metadata that each study's numbers depend on."""

    spread: SeedSpread | None = None

    @model_validator(mode="after")
    def _trains_its_members(self) -> Self:
        soups = {soup.recipe: [one.recipe for one in soup.ingredients] for soup in self.soups}
        needed = {(study, one) for study, uid in self.members for one in soups.get(uid, [uid])}
        if needed - {(one.study, one.uid) for one in self.models}:
            raise ValueError("a member is of no training")
        return self


def told_apart(models: Sequence[TrainedModel], study: str) -> list[TrainedModel]:
    """Return trainings of the model of `study` with their studies in their titles, if others."""
    titles = [title_within(one.title, one.study, of=study) for one in models]
    return [
        one.model_copy(update={"title": title}) for one, title in zip(models, titles, strict=True)
    ]


def _plain(name: str) -> str:
    if "/" in name or not name.endswith(".whl"):
        raise ValueError("no plain name of a wheel")
    return name


def read_training(bundle: Path) -> TrainingRecord:
    """Return how the model of a bundle was trained.

    Raises:
        BundleError: the bundle does not say.
    """
    path = bundle / RECORD
    if not path.exists():
        raise BundleError(
            f"{bundle} holds no {RECORD}: an older version wrote it, or its study had lost the "
            "table of its data or the folder of a trial, or a trial was trained again since. Run "
            "`workbench search` for the study, and export it again."
        )
    try:
        return read_record(TrainingRecord, path, remedy="Export the bundle again.")
    except DamagedFileError as error:
        raise BundleError(str(error)) from error


def digests(table: pd.DataFrame, used: tuple[str, ...]) -> dict[str, FilesDigest]:
    """Return what tells the files and labels of each split from others.

    Args:
        table: Of a manifest, dealt into splits; see `out_of_fold.with_all_folds`.
        used: Columns of the metadata that count.
    """
    columns = [column for column in (*map(column_of, used), FOLD) if column in table]
    orders = {
        str(split): _sha256(rows[["name"]]) for split, rows in table.groupby("split", sort=False)
    }
    return {
        str(split): FilesDigest(
            num_files=len(rows),
            num_fake=int((rows["target"] == 1).sum()),
            labels=_sha256(rows[["name", "target", *columns]]),
            media=_sha256(rows[["name", "content"]]),
            order=orders[str(split)],
        )
        for split, rows in table.sort_values(["split", "name"]).groupby("split", sort=False)
    }


def digest_of_scores(scores: pd.DataFrame, objective: Objective) -> str:
    """Return the SHA-256 of a trial's scores on the slices of its objective and on the test files.

    Scores count to the last bit. Those of other slices do not count, nor does the order.
    """
    names = {*objective.slices_among(scores["slice"].unique()), TEST}
    kept = scores[scores["slice"].isin(names)].sort_values(["slice", "name"], kind="stable")
    exact = kept["score"].astype("float64").map(float.hex)
    return _sha256(kept[["slice", "name"]].assign(score=exact))


def _sha256(table: pd.DataFrame) -> str:
    text = io.StringIO()
    table.to_csv(text, index=False, lineterminator="\n")
    return hashlib.sha256(text.getvalue().encode("utf-8", "surrogateescape")).hexdigest()
