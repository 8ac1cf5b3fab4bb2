"""The files of a bundle by which its training is repeated, written at the export."""

import itertools
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml

from workbench.console import say
from workbench.data.prepared_table import read_own_table
from workbench.errors import BundleError, DamagedFileError, StudyError
from workbench.files import write_text
from workbench.scoring.slices import TEST, columns_used
from workbench.screening.clusters import FILE as CLUSTERS_FILE
from workbench.selection.champion import Champion
from workbench.selection.finalists import Finalist, Finalists, read_finalists
from workbench.selection.leaderboard import complete_trials
from workbench.selection.packing import was_trained_again
from workbench.space.experiment import PLACES
from workbench.study.folder import StudyFolder
from workbench.study.own_files import FOLDS
from workbench.study.packs import PackFolder, members_told, title_within
from workbench.study.provenance import code_tags
from workbench.study.records import MADE_BY, read_study
from workbench.study.refits import RefitRecord
from workbench.study.repeats import read_repeats
from workbench.study.scored import read_scored_trials
from workbench.study.slice_folders import noted_folders
from workbench.study.soups import Soup, read_soup
from workbench.submission.bundle_code import PACKAGE
from workbench.submission.training_record import (
    FOLDER,
    RECORD,
    TRAIN_PROGRAM,
    SeedSpread,
    TrainedModel,
    TrainingRecord,
    digest_of_scores,
    digests,
)
from workbench.submission.unread_views import unread_views
from workbench.submission.wheel import write_wheel
from workbench.trial.recipe import Recipe
from workbench.trial.result import ModelFolder, TrialFolder


def trained_models(
    folder: StudyFolder, champion: Champion, refit: RefitRecord | None
) -> tuple[TrainedModel, ...]:
    """Return the trainings of what is exported: of its model, or of each trial that it joins.

    A pack or a soup has weights of its own: where the folder of a trial is gone, or the study of a
    member, or has other weights by now, a line says so, and there are none.

    Args:
        folder: The study.
        champion: What is exported, or stands for the refit that is.
        refit: What is exported in its place, if that is a refit.

    Raises:
        BundleError: the study of a refit's member is gone, or how a training ended is not known.
        DamagedFileError: files of a trial are not what it wrote.
    """
    model = folder.model(refit.recipe if refit else champion.recipe)
    trained = _trained(folder, champion, refit, model)
    if lost := _lost(folder, model, trained):
        say(
            f"warning: {lost}, so nothing says how all of {champion.title} was trained: the bundle "
            f"has no {TRAIN_PROGRAM}."
        )
        return ()
    models = (_model(one.folder, one.files, one.title, one.code) for one in trained)
    # A trial may be a member of a pack and in a soup that is another.
    return tuple({(one.study, one.uid): one for one in models}.values())


def recipes_of(folder: StudyFolder, model: ModelFolder) -> list[tuple[str, Recipe]]:
    """Return what is said of a model where nothing is left of a trial: studies and recipes."""
    if isinstance(model, PackFolder):
        return [(one.study, one.trained) for one in model.read_pack().members]
    return [(folder.name, TrialFolder(model.path).read_recipe())]


def write_training(
    folder: StudyFolder,
    champion: Champion,
    refit: RefitRecord | None,
    models: Sequence[TrainedModel],
    part: Path,
) -> str:
    """Write what `workbench retrain` and `train.py` need into the bundle `part`.

    `models` are what `trained_models` returned of the champion and its refit.

    Returns:
        The name of the wheel in the bundle; empty where a study lost the table of its data or the
        folder of a trial, so that nothing says what was trained, and on what: then nothing is
        written.

    Raises:
        BundleError: the program was never installed.
        DamagedFileError: files of a repeat are not what it wrote.
        CacheError: the table of a study's data is damaged, or another study's.
    """
    uid = refit.recipe if refit else champion.recipe
    model = folder.model(uid)
    studies = {one.study: _study(folder, one.study) for one in models}
    if not models or not all(one.manifest.exists() for one in studies.values()):
        return ""
    finalists = finalists_of(folder)
    tags = code_tags()
    used = {name: _used(one, models) for name, one in studies.items()}
    record = TrainingRecord(
        recipe=uid,
        version=tags["version.workbench"],
        code_hash=tags["code_hash"],
        wheel=write_wheel(part).name,
        models=tuple(models),
        **_soups(folder, champion, model),
        repeats=() if refit else _other_seeds(folder, champion, finalists),
        pack=model.read_pack().spec if isinstance(model, PackFolder) else None,
        data={name: digests(read_own_table(one.path), used[name]) for name, one in studies.items()},
        unread={name: unread_views(one) for name, one in studies.items()},
        folders={
            name: {part: about["fingerprint"] for part, about in noted_folders(one).items()}
            for name, one in studies.items()
        },
        used_columns=used,
        spread=_spread(folder, finalists),
    )
    for name, one in studies.items():
        place = part / FOLDER / name
        place.mkdir(parents=True)
        write_text(place / one.experiment_file.name, _experiment(one))
        for kept in (Path(CLUSTERS_FILE), Path(FOLDS, CLUSTERS_FILE)):
            if (one.path / kept).exists():
                (place / kept).parent.mkdir(exist_ok=True)
                shutil.copyfile(one.path / kept, place / kept)
    write_text(part / RECORD, record.model_dump_json(indent=2) + "\n")
    shutil.copyfile(PACKAGE / "submission" / "train.py.txt", part / TRAIN_PROGRAM)
    return record.wheel


class _Trained(NamedTuple):
    """A trained model of a study."""

    folder: StudyFolder
    files: TrialFolder
    title: str
    code: str
    """The hash of the code that trained it."""

    weights: str = ""
    """The SHA-256 of its weights as a pack or a soup has them; empty where nothing tells."""

    def told(self, study: str) -> str:
        """Return where it is and what it is, where `study` is spoken of."""
        return f"{self.files.path} ({title_within(self.title, self.folder.name, of=study)})"


def _lost(folder: StudyFolder, model: ModelFolder, trained: Sequence[_Trained]) -> str:
    """Return which models' trainings nothing tells any more, and why, as a clause; may be empty."""
    members = model.read_pack().members if isinstance(model, PackFolder) else ()
    gone = [one.told(folder.name) for one in trained if not one.files.path.is_dir()]
    other = [one.told(folder.name) for one in trained if one.files.has_other_weights(one.weights)]
    other += [
        f"{folder.beside(one.study).soup(one.recipe).path} ({one.title_in(folder.name)})"
        for one in members
        if one.soup and was_trained_again(folder, one)
    ]
    clauses = []
    for names, one, several in (
        (gone, "is gone", "are gone"),
        (other, "has other weights by now", "have other weights by now"),
    ):
        if names := [*dict.fromkeys(names)]:
            clauses.append(f"{', '.join(names)} {one if len(names) == 1 else several}")
    return ", and ".join(clauses)


def _trained(
    folder: StudyFolder, champion: Champion, refit: RefitRecord | None, model: ModelFolder
) -> list[_Trained]:
    """Return the trained model that is exported, or every trial in the pack or soup."""
    if refit:
        code = refit.made_by.get("code_hash", "")
        parts = model.read_pack().members if isinstance(model, PackFolder) else ()
        known = [one.weights_sha256 for one in parts] or [""]
        return [
            # The data are those of the study that it was trained on, which may be another's.
            _Trained(
                _study(folder, one.study),
                folder.refit(one.recipe),
                f"refit of trial {one.number}",
                code,
                weights,
            )
            for one, weights in zip(refit.models, known, strict=True)
        ]
    if champion.is_soup:
        return _averaged(folder, champion.recipe, champion.title)
    if not isinstance(model, PackFolder):
        number = champion.number or 0
        title = champion.title if not champion.repeats else f"repeat of trial {number}"
        code = _code_of(folder, number, champion.recipe)
        return [_Trained(folder, folder.trial(champion.recipe), title, code)]
    found = []
    for member in model.read_pack().members:
        own = folder.beside(member.study)
        if not own.path.is_dir():  # the pack has weights of its own
            found.append(_Trained(own, own.trial(member.recipe), member.title_in(own.name), ""))
            continue
        if member.soup:
            found += _averaged(own, member.recipe, member.title_in(folder.name))
            continue
        title, code = f"trial {member.number}", _code_of(own, member.number, member.recipe)
        files = own.trial(member.recipe)
        found.append(_Trained(own, files, title, code, member.weights_sha256))
    return found


def _soups(folder: StudyFolder, champion: Champion, model: ModelFolder) -> dict[str, Any]:
    """Return the fields of the record that say which members are soups; none if none is."""
    if champion.is_soup:
        soup = _soup(folder, champion.recipe, champion.title)
        return {"soups": (soup,), "members": ((folder.name, soup.recipe),)}
    members = model.read_pack().members if isinstance(model, PackFolder) else ()
    soups = [
        _soup(_study(folder, m.study), m.recipe, m.title_in(folder.name)) for m in members if m.soup
    ]
    if not soups:
        return {}
    return {"soups": tuple(soups), "members": tuple((m.study, m.recipe) for m in members)}


def averages_told(folder: StudyFolder, champion: Champion, *, is_known: bool = True) -> list[str]:
    """Return a sentence for each soup that the champion is, or has as a member.

    `is_known` is whether the text below it tells how their trials were trained.

    None where the study of a member is gone.
    """
    model = folder.model(champion.recipe)
    members = model.read_pack().members if isinstance(model, PackFolder) else ()
    if not all(folder.beside(member.study).path.is_dir() for member in members):
        return []
    soups = _soups(folder, champion, model).get("soups", ())
    studies = [one.study for one in members if one.soup] or [folder.name]
    told = []
    for soup, study in zip(soups, studies, strict=False):
        names = members_told(map(str, soup.numbers))
        told.append(
            f"{title_within(f'Soup {soup.recipe}', study, of=folder.name)} is the mean of the "
            f"weights of {title_within(names, study, of=folder.name)}"
            f"{', which were trained as follows' * is_known}; it was not trained any further."
        )
    return told


def _soup(folder: StudyFolder, uid: str, title: str) -> Soup:
    soup = read_soup(folder, uid)
    if soup is None:
        raise BundleError(
            f"What {title} is made of is gone from {folder.soup(uid).path}. Put the file back, or "
            "promote another model."
        )
    return soup


def _averaged(folder: StudyFolder, uid: str, title: str) -> list[_Trained]:
    """Return the trials whose weights a soup averages."""
    soup = _soup(folder, uid, title)
    return [
        _Trained(
            folder,
            folder.trial(one.recipe),
            f"trial {one.number}",
            _code_of(folder, one.number, one.recipe),
            one.weights_sha256,
        )
        for one in soup.ingredients
    ]


def _study(folder: StudyFolder, name: str) -> StudyFolder:
    own = folder.beside(name)
    if not own.path.is_dir():
        raise BundleError(
            f"A member of the pack is a trial of the study {name}, which is not in "
            f"{folder.path.parent}: nothing says how it was trained. Put that study's "
            "folder back."
        )
    return own


def _model(folder: StudyFolder, files: TrialFolder, title: str, code: str) -> TrainedModel:
    recipe, result = files.read_recipe(), files.read_result()
    if result is None:
        raise BundleError(f"{files.result} is gone. Put the file back, or promote another trial.")
    return TrainedModel(
        title=title,
        study=folder.name,
        uid=recipe.uid,
        recipe=recipe,
        value=result.objective,
        weights_sha256=result.weights_sha256,
        scores_sha256=digest_of_scores(files.read_scores(), recipe.objective),
        environment=result.environment,
        device=result.device,
        micro_batch=result.micro_batch,
        checkpointed=result.checkpointed,
        compiled=any(epoch.compiled for epoch in result.epochs),
        code_hash=code,
    )


def _code_of(folder: StudyFolder, number: int, uid: str) -> str:
    """Return the hash of the code that trained a trial or a repeat; empty if nobody knows."""
    try:
        for repeat in read_repeats(folder):
            if repeat.recipe == uid:
                return repeat.made_by.get("code_hash", "")
        trials = read_study(folder).get_trials(deepcopy=False)
        made_by: dict[str, str] = trials[number].user_attrs.get(MADE_BY, {})
    except (StudyError, DamagedFileError, IndexError):
        return ""
    return made_by.get("code_hash", "")


def _experiment(folder: StudyFolder) -> str:
    """Return what a study was about, as YAML, without places that are this user's own."""
    begun = folder.begun()
    about = {key: value for key, value in begun["experiment"].items() if key not in PLACES}
    if about.get("holdout") and about["holdout"].get("data"):
        about["holdout"] = None
    tree = {"experiment": about, "space": begun["space"]}
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)


def _used(folder: StudyFolder, models: Sequence[TrainedModel]) -> tuple[str, ...]:
    experiment = folder.experiment()
    own = [model.recipe.training.augment for model in models if model.study == folder.name]
    mixed = any(augment.paired_mixup_alpha > 0 for augment in own)
    return columns_used(experiment.data.described, experiment.objective.over, mixed=mixed)


def finalists_of(folder: StudyFolder) -> Finalists | None:
    """Return the finalists of a study; nothing where there are none, or its journal is gone."""
    try:
        return read_finalists(folder, read_scored_trials(folder))
    except (StudyError, DamagedFileError):
        return None


def _other_seeds(
    folder: StudyFolder, champion: Champion, finalists: Finalists | None
) -> tuple[TrainedModel, ...]:
    """Return the repeats of the champion's trial, but for the one that is promoted."""
    if not champion.repeats or finalists is None:
        return ()
    of_trial = [one for one in finalists.ranked if one.row.number == champion.number]
    repeats = {repeat.recipe: repeat for repeat in read_repeats(folder)}
    return tuple(
        _model(
            folder,
            folder.repeat(row.recipe),
            f"repeat {repeats[row.recipe].name}",
            repeats[row.recipe].made_by.get("code_hash", ""),
        )
        for one in of_trial
        for row in complete_trials(one.repeats)
        if row.recipe != champion.recipe
    )


def _spread(folder: StudyFolder, finalists: Finalists | None) -> SeedSpread | None:
    if finalists is None or finalists.seed_deviation is None:
        return None
    several = [one for one in finalists.ranked if len(one.values) > 1]
    apart = [gap for one in several for gap in _gaps(folder, one)]
    return SeedSpread(
        num_repeats=sum(len(one.values) for one in several),
        deviation=finalists.seed_deviation,
        scores=max(apart),
    )


def _gaps(folder: StudyFolder, one: Finalist) -> list[float]:
    """Return the mean difference of the test scores of every two repeats of a finalist."""
    tables = []
    for row in complete_trials(one.repeats):
        scores = folder.repeat(row.recipe).read_scores()
        tables.append(scores[scores["slice"] == TEST].set_index("name")["score"])
    if tables and tables[0].empty:  # there are no test files
        return [0.0]
    gaps = (np.abs(one - other).mean() for one, other in itertools.combinations(tables, 2))
    return [*map(float, gaps)]
