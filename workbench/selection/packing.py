"""Making a pack: trained models become one spec, one file of weights and one table of scores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from workbench.errors import RuleError, StudyError
from workbench.files import finished, hash_file, write_text
from workbench.folders import finished_folder
from workbench.parts.joint import Joint, JointLayer
from workbench.parts.pack_spec import PackSpec, with_views_told_apart
from workbench.parts.plugins import needed
from workbench.rules.judge import judge_spec
from workbench.rules.rulebook import Rulebook
from workbench.scoring.slices import TEST
from workbench.selection.joining import joined
from workbench.selection.leaderboard import objective_of
from workbench.study.folder import StudyFolder
from workbench.study.packs import PackFolder, PackMember, PackRecord, title_of
from workbench.study.records import TrialRow
from workbench.study.soups import Soup
from workbench.trial.metrics import metrics_by_slice, objective_metrics
from workbench.trial.recipe import Objective
from workbench.trial.result import Result, TrialFolder

_SAMPLE = ["slice", "name", "target"]


@dataclass(frozen=True)
class Ingredient:
    """A complete trial that goes into a pack, or a soup of several."""

    folder: StudyFolder
    row: TrialRow
    """Of a soup see `soups.row_of_soup`."""

    soup: Soup | None = None

    @property
    def title(self) -> str:
        """What a person calls it."""
        number = None if self.soup else self.row.number
        title = title_of(number, self.row.recipe, is_soup=self.soup is not None)
        return f"{title} of {self.folder.name}"


def record_of(
    ingredients: Sequence[Ingredient], joint: Joint, objective: Objective, *, num_trials: int
) -> PackRecord:
    """Return the record of the pack that some trials make, all but its counts and estimate.

    Raises:
        StudyError: the trials are of different data.
        ConfigError: they need two versions of one plugin.
        DamagedFileError: a trial's recipe is gone or damaged.
    """
    recipes = [one.folder.trial(one.row.recipe).read_recipe() for one in ingredients]
    data = {recipe.data for recipe in recipes}
    if len(data) > 1:
        raise StudyError(
            "The members of a pack must have learned from the same files, and these are of "
            f"{len(data)} data sets ({', '.join(sorted(data))}). Name studies of the same data."
        )
    specs, _ = with_views_told_apart([recipe.model for recipe in recipes])
    spec = PackSpec(members=specs, joint=joint)
    needed((p for recipe in recipes for p in recipe.plugins), spec.backbone_names)
    members = tuple(
        PackMember(
            study=one.folder.name,
            number=one.row.number,
            recipe=one.row.recipe,
            soup=tuple(one.soup.numbers) if one.soup else (),
            trained=recipe,
            weights_sha256=_weights_hash(one),
            objective=objective_of(one.row),
            ms_per_file=one.row.ms_per_file,
        )
        for one, recipe in zip(ingredients, recipes, strict=True)
    )
    return PackRecord(
        spec=spec,
        members=members,
        data=data.pop(),
        objective=objective,
        num_trials=num_trials,
    )


def counted(record: PackRecord, rulebook: Rulebook) -> PackRecord:
    """Return the record of a pack that the rulebook allows, with what it has of parameters.

    Raises:
        RuleError: it refuses the pack.
    """
    verdict = judge_spec(rulebook, record.spec)
    if not verdict.legal:
        raise RuleError(f"{verdict.sentence[0].upper()}{verdict.sentence[1:]} Nothing was written.")
    return record.model_copy(
        update={"params_thop": verdict.params_thop, "params_true": verdict.params_true}
    )


def write_pack(
    folder: StudyFolder, record: PackRecord, ingredients: Sequence[Ingredient]
) -> PackFolder:
    """Write a pack into its study, all of it or nothing, as the one made last; return its folder.

    One that is there already is left as it is, but for what it is told to be worth: it may have
    been chosen among more trials now.

    Args:
        folder: The study that keeps it.
        record: What it is.
        ingredients: Its members' trials, in its order.

    Raises:
        StudyError: weights of a member are gone or not its recipe's, or its scores are of other
            files than those of the first.
        DamagedFileError: files of a member are not what its trial wrote.
    """
    place = folder.pack(record.uid)
    if not place.path.is_dir():
        scores = joined_scores(record, ingredients)
        trained = [one.folder.trial(one.row.recipe) for one in ingredients]
        weights = pack_tensors(record.spec, trained)
        with finished_folder(place.path) as path:
            part = PackFolder(path, record.uid)
            part.write_pack(record)
            part.write_scores(scores)
            with finished(part.weights) as file:
                save_file(weights, file, metadata={"recipe": record.uid})
            part.write_result(_result(record, ingredients, scores, part))
    elif record.estimate is not None:
        _write_estimate(place, record)
    write_text(folder.last_pack, record.uid + "\n")
    return place


def _write_estimate(place: PackFolder, record: PackRecord) -> None:
    """Write the record of a pack that is there anew: how it was chosen, and what it is worth.

    A kill in between leaves a result that says nothing of the record, as older versions did: the
    pack may be the champion, which is exported.
    """
    result = place.read_result()
    if result is not None:
        place.write_result(result.model_copy(update={"recipe_sha256": ""}))
    place.write_pack(record)
    if result is not None:
        place.write_result(result.model_copy(update={"recipe_sha256": hash_file(place.record)}))
    place.require_unchanged()


def joined_scores(record: PackRecord, ingredients: Sequence[Ingredient]) -> pd.DataFrame:
    """Return the scores of a pack on every slice that all of its members were scored on.

    Raises:
        StudyError: the members have scores of different files.
        DamagedFileError: the scores of a member are gone or damaged.
    """
    tables = [one.folder.trial(one.row.recipe).read_scores() for one in ingredients]
    titles = [f"{one.title[0].upper()}{one.title[1:]}" for one in ingredients]
    return join_tables(record.spec.joint, tables, titles)


def join_tables(
    joint: Joint, members: Sequence[pd.DataFrame], titles: Sequence[str]
) -> pd.DataFrame:
    """Return the scores of a pack, given those of its members; see `joined_scores`.

    Args:
        joint: How they become one.
        members: Rows of a scores file of each member.
        titles: What a person calls each, at the beginning of a sentence.

    Raises:
        StudyError: they are of different files.
    """
    first, *rest = on_shared_slices(members, titles)
    scores = np.stack([table["score"].to_numpy(np.float64) for table in (first, *rest)])
    neutral = [
        table["neutral"] if "neutral" in table else pd.Series(False, index=table.index)
        for table in (first, *rest)
    ]
    return first[_SAMPLE].assign(
        score=joined(joint, scores),
        neutral=np.logical_and.reduce([one.to_numpy(bool) for one in neutral]),
    )


def on_shared_slices(members: Sequence[pd.DataFrame], titles: Sequence[str]) -> list[pd.DataFrame]:
    """Return the rows of each of some scores files on the slices that all have of the same files.

    Two studies may have other clusters of the same files: those are in no slice of both.

    Args:
        members: Rows of a scores file of each model.
        titles: What a person calls each, at the beginning of a sentence.

    Raises:
        StudyError: they have none of the same files, or predict other ones.
    """
    tables = [
        table.sort_values(["slice", "name"], kind="stable", ignore_index=True) for table in members
    ]
    files = [{name: rows[_SAMPLE] for name, rows in table.groupby("slice")} for table in tables]
    shared = set.intersection(*map(set, files))
    for title, of_member in zip(titles[1:], files[1:], strict=True):
        other = {name for name in shared if not _are_equal(files[0][name], of_member[name])}
        # Refits score no file where the data have no test files.
        if any(files) and (shared <= other or TEST in other):
            raise StudyError(
                f"{title} was scored on other files than t{titles[0][1:]}, so that no pack can "
                "be made of both. Name studies of the same data, searched by one version."
            )
        shared -= other
    return [table[table["slice"].isin(shared)].reset_index(drop=True) for table in tables]


def _are_equal(some: pd.DataFrame, others: pd.DataFrame) -> bool:
    return some.reset_index(drop=True).equals(others.reset_index(drop=True))


def was_trained_again(folder: StudyFolder, member: PackMember) -> bool:
    """Say whether a member of a pack of `folder` has other weights by now than the pack has."""
    files = folder.beside(member.study).trial(member.recipe)
    return files.has_other_weights(member.weights_sha256)


def _weights_hash(one: Ingredient) -> str:
    files = one.folder.trial(one.row.recipe)
    if not files.weights.is_file():
        raise StudyError(
            f"The weights of {one.title} are gone "
            f"({files.weights}), so it can be in no pack. Put the file back."
        )
    files.require_unchanged()
    return hash_file(files.weights)


def pack_tensors(spec: PackSpec, trained: Sequence[TrialFolder]) -> dict[str, Tensor]:
    """Return every tensor of a pack's module, by its name there.

    Views that were renamed keep their place: a model's readers stand in the order of its views.

    Args:
        spec: The pack's.
        trained: The files of each of its members, in its order.

    Raises:
        StudyError: weights are damaged.
        DamagedFileError: a recipe is gone or damaged.
    """
    tensors: dict[str, Tensor] = {}
    for number, (files, member) in enumerate(zip(trained, spec.members, strict=True)):
        new = dict(zip(files.read_recipe().model.views, member.views, strict=True))
        try:
            own = load_file(files.weights)
        except SafetensorError as error:
            raise StudyError(
                f"{files.weights} is not a safetensors file ({error}). Put the file back."
            ) from error
        for name, tensor in own.items():
            tensors[f"members.{number}.{_renamed(name, new)}"] = tensor
    joint = JointLayer(spec.joint).state_dict()
    return tensors | {f"joint.{name}": tensor for name, tensor in joint.items()}


def _renamed(name: str, new: Mapping[str, str]) -> str:
    """Return the name of a tensor of a model whose views have new names."""
    top, _, rest = name.partition(".")
    if top not in ("readers", "over_frames"):
        return name
    view, _, rest = rest.partition(".")
    return f"{top}.{new[view]}.{rest}"


def _result(
    record: PackRecord,
    ingredients: Sequence[Ingredient],
    scores: pd.DataFrame,
    part: PackFolder,
) -> Result:
    labelled = scores[scores["target"] >= 0]
    metrics = objective_metrics(
        record.objective,
        {
            str(name): (rows["target"], rows["score"])
            for name, rows in labelled.groupby("slice", sort=False)
        },
    )
    times = [one.row.ms_per_file for one in ingredients]
    known = [time for time in times if time is not None]
    return Result(
        recipe=record.uid,
        state="complete",
        objective=metrics[record.objective.metric],
        metrics=dict(metrics),
        by_slice=metrics_by_slice(scores),
        ms_per_file=sum(known) if len(known) == len(times) else None,
        seconds=sum(one.row.seconds for one in ingredients),
        recipe_sha256=hash_file(part.record),
        weights_sha256=hash_file(part.weights),
        scores_sha256=hash_file(part.scores),
    )
