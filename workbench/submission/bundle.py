"""Export: the champion of a study as one folder that runs without this program."""

import shutil
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from safetensors import SafetensorError, safe_open

from workbench.console import visible_lines
from workbench.data.delimited import quoted
from workbench.data.facts import FactsStore
from workbench.data.labels import read_template
from workbench.data.prepared_table import read_prepared_table
from workbench.errors import BundleError, RuleError
from workbench.files import hash_file, require_readable, write_bytes, write_json, write_text
from workbench.folders import finished_folder
from workbench.media.still import LIBRARIES
from workbench.notebook import ShownAsText
from workbench.parts.heads import LINEAR
from workbench.parts.model_spec import ModelSpec
from workbench.parts.over_frames import MEAN
from workbench.parts.pack_spec import PackSpec, members_of
from workbench.parts.plugins import needed
from workbench.parts.temperature import tempered
from workbench.rules.judge import judge_spec
from workbench.scoring.slices import TEST
from workbench.selection.alias_told import other_alias
from workbench.selection.calibration import calibrate
from workbench.selection.champion import Champion, read_champion, require_number
from workbench.selection.refit import require_carried_over
from workbench.selection.slice_values import main_slice
from workbench.study.disk import without_weights
from workbench.study.folder import StudyFolder
from workbench.study.packs import PackFolder, spec_of, title_of
from workbench.study.refits import RefitRecord, read_refit, refit_of
from workbench.study.scored import gives
from workbench.study.since_begun import told_since_begun
from workbench.submission import documents
from workbench.submission.agreement import disagreements
from workbench.submission.bundle_code import PACKAGE, code_for, place_of
from workbench.submission.contents import Contents, FileRecord, Temperature
from workbench.submission.documents import dockerfile
from workbench.submission.neutral import Neutral, neutral_of, require_few
from workbench.submission.paths import check_place
from workbench.submission.places import (
    CALIBRATION,
    CODE,
    MANIFEST,
    MODEL,
    PREDICTIONS,
    PROGRAM,
    SCORED_FILES,
    WEIGHTS,
)
from workbench.submission.predictions import fill, read_sheet
from workbench.submission.scored_files import scored_files_table
from workbench.submission.study_files import (
    device_of,
    find_scored_files,
    folder_of_test_media,
    sentence_on_changed_media,
    write_study_page,
)
from workbench.submission.technical_report import REPORT, Reported, technical_report
from workbench.submission.training_files import recipes_of, trained_models, write_training
from workbench.tables import text_table
from workbench.trial.result import ModelFolder
from workbench.workspace import Workspace

NUM_EXPECTED = 5
"""Scores that the README names, to compare with."""


@dataclass(frozen=True)
class Bundle(ShownAsText):
    """An exported folder."""

    path: Path
    contents: Contents
    num_rows: int
    """Of the predictions."""

    neutral: Neutral
    """The test files that got a neutral score."""

    changed: str = ""
    """How many test files are others by now than those that were scored, what the tables say
    otherwise, and whether MLflow has another champion; empty if nothing changed."""

    def __str__(self) -> str:
        return visible_lines(describe_bundle(self))


def export(
    folder: StudyFolder,
    out: Path,
    *,
    allow_missing: bool = False,
    is_calibrated: bool = False,
    is_refit: bool = False,
) -> Bundle:
    """Write the champion of a study into the new folder `out`, all of it or nothing.

    Args:
        folder: The study.
        out: The folder to make.
        allow_missing: Export even where many test files got a neutral score, being missing, broken,
            or not what the model's views are made of.
        is_calibrated: Divide the logits of all scores by the temperature that makes the log-loss
            on held-out files least; else only where the experiment says `calibrated: true`.
        is_refit: Export the champion's refit in its place; see `selection.refit`.

    Raises:
        StudyError: the study has no champion, or that has no refit, or a record says something
            else of it.
        BundleError: `out` exists or lies in a bundle, files of the champion are gone or do not
            belong together, records of it disagree, the template lacks test files, or too few files
            are held out to fit a temperature on.
        DataError: `out` cannot be written, the template names a file of which no score is stored,
            or more than `neutral.MOST_NEUTRAL` of the test files got a neutral one.
        RuleError: the rulebook refuses the model.
        DamagedFileError: weights or scores are not what the trial wrote.
    """
    if out.is_symlink() or (out.exists() and not (out.is_dir() and not any(out.iterdir()))):
        raise BundleError(f"{out} exists. Remove it, or name another folder by --out.")
    for parent in out.absolute().parents:
        if (parent / MANIFEST).is_file() and (parent / PROGRAM).is_file():
            raise BundleError(
                f"{out} is inside the bundle {parent}, which must stay as it was exported. "
                "Name another folder by --out."
            )
    check_place(out)
    champion = read_champion(folder)
    require_number(folder, champion)
    refit = refit_of(folder, champion.recipe, champion.title) if is_refit else None
    if refit:
        require_carried_over(folder, champion, refit)
    uid = refit.recipe if refit else champion.recipe
    model = folder.model(uid)
    if not model.weights.exists():
        title = title_of(champion.number, champion.recipe, is_soup=champion.is_soup)
        raise BundleError(without_weights(model, title))
    # Before the model is read: that runs its plugins, which may be of other versions.
    rulebook = folder.experiment().rulebook
    spec = _read_spec(model, champion, uid)
    verdict = judge_spec(rulebook, spec)
    if not verdict.legal:
        raise RuleError(f"{verdict.sentence} Promote another trial.")
    template = read_template(folder.template, folder.experiment().data.columns, may_be_empty=True)
    columns = (template.name_column, template.score_column)
    sheet = read_sheet(folder.template, name_column=columns[0], score_column=columns[1])
    measured = folder.model(champion.recipe)
    _require_measured(measured, champion)
    scores, temperature = _test_scores(model), None
    if is_calibrated or folder.experiment().calibrated:
        temperature = _temperature(measured, champion)
        names, values = list(scores), tempered(list(scores.values()), temperature.temperature)
        scores = dict(zip(names, values.tolist(), strict=True))
    predictions = fill(sheet, scores)
    if lost := scores.keys() - set(sheet.names):
        raise BundleError(
            f"{folder.template} was changed: {len(lost)} of the {len(scores)} test files have no "
            f"row, e.g. {quoted(min(lost))}. Run `workbench search` again with the same options; "
            "it is written anew."
        )
    models = trained_models(folder, champion, refit)
    trained = [(one.study, one.recipe) for one in models] or recipes_of(folder, model)
    scored = find_scored_files(folder, model, trained, sheet.names)
    neutral = neutral_of(scored)
    if not allow_missing:
        require_few(neutral)
    device = device_of(folder, model)
    views, calibrated = spec.views.values(), documents.calibrated_by(temperature, refit)
    plugins = needed((p for _, one in trained for p in one.plugins), spec.backbone_names)
    code = code_for(
        {type(view) for view in views},
        spec.backbone_names,
        is_pack=isinstance(spec, PackSpec),
        has_own_head=any(member.head != LINEAR for member in members_of(spec)),
        has_over_frames=any(member.over_frames != MEAN for member in members_of(spec)),
        has_picture_input=any(member.picture_input != "rgb" for member in members_of(spec)),
        plugins=plugins,
    )
    extras = frozenset().union(*(view.libraries for view in views))
    versions = documents.installed_versions(code.libraries | extras | _picture_libraries(folder))

    with finished_folder(out) as part:
        write_bytes(part / PREDICTIONS, predictions)
        write_text(part / SCORED_FILES, scored_files_table(scored))
        shutil.copyfile(model.weights, part / WEIGHTS)
        shutil.copyfile(model.record, part / model.record.name)
        write_text(part / MODEL, spec.model_dump_json(indent=2) + "\n")
        if temperature:
            write_text(part / CALIBRATION, temperature.model_dump_json(indent=2) + "\n")
        write_text(part / "champion.json", champion.model_dump_json(indent=2) + "\n")
        if refit:
            write_text(part / folder.last_refit.name, refit.model_dump_json(indent=2) + "\n")
        write_study_page(folder, part / "report.html")
        for file, source in code.files.items():
            (part / CODE / file).parent.mkdir(parents=True, exist_ok=True)
            (part / CODE / file).write_bytes(source)
        for view in views:
            for place, file in view.files().items():
                (part / CODE / PACKAGE.name / place).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, part / CODE / PACKAGE.name / place)
        shutil.copyfile(PACKAGE / "submission" / "predict.py.txt", part / PROGRAM)
        wheel = write_training(folder, champion, refit, models, part)
        told = neutral.sentence, calibrated
        about = Reported(folder, champion, refit, spec, verdict, models, wheel, *told)
        write_text(part / REPORT, technical_report(about))
        write_text(part / "requirements.txt", documents.requirements(versions))
        write_text(part / "Dockerfile", dockerfile(f"./{wheel}" if wheel else ""))
        text = documents.readme(
            champion,
            spec,
            verdict=verdict,
            columns=columns,
            num_rows=len(sheet.rows),
            neutral=neutral,
            device=device,
            calibrated=calibrated,
            refit=refit,
            wheel=wheel,
            first={name: scores[name] for name in list(dict.fromkeys(sheet.names))[:NUM_EXPECTED]},
            times=_times(model),
            plugins={f"{CODE}/{place_of(one).as_posix()}": one.brings for one in plugins},
        )
        write_text(part / "README.md", text)
        _require_still(folder, champion, refit)
        contents = Contents(
            study=folder.name,
            trial=champion.number,
            recipe=uid,
            is_soup=champion.is_soup,
            name_column=columns[0],
            score_column=columns[1],
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            python=".".join(map(str, sys.version_info[:3])),
            versions=versions,
            device=device,
            test_media=folder_of_test_media(folder),
            files=_records(part),
        )
        write_json(part / MANIFEST, contents.model_dump())
        if faults := disagreements(part, contents)[1]:
            said = "; ".join(faults)
            raise BundleError(f"The records of {folder.name} disagree: {said}. Promote again.")
    changed = sentence_on_changed_media(folder), told_since_begun(folder), other_alias(folder)
    return Bundle(out, contents, len(sheet.rows), neutral, " ".join(filter(None, changed)))


def describe_bundle(bundle: Bundle) -> str:
    """Return a table of what a bundle holds, for a terminal."""
    about, code = bundle.contents, f"{CODE}/"
    sizes = {name: record.size_bytes for name, record in about.files.items()}
    of_code = [sizes.pop(name) for name in about.files if name.startswith(code)]
    sizes[f"{code} ({len(of_code)} modules)"] = sum(of_code)
    rows = [[name, f"{size_bytes / 1000:.1f}"] for name, size_bytes in sizes.items()]
    recipe = f" (recipe {about.recipe})" if about.trial is not None else ""
    title = title_of(about.trial, about.recipe, is_soup=about.is_soup)
    told = ["", bundle.neutral.sentence, *bundle.neutral.lines] if bundle.neutral.files else []
    told += ["", bundle.changed] if bundle.changed else []
    return (
        f"{bundle.path}: {title} of {about.study}{recipe}, {bundle.num_rows} predictions\n\n"
        + text_table(["file", "kB"], rows)
        + "".join(f"\n{line}" for line in told)
    )


def _read_spec(model: ModelFolder, champion: Champion, uid: str) -> ModelSpec | PackSpec:
    for path in (model.record, model.weights, model.scores):
        if not path.is_file():
            raise BundleError(
                f"{path} is gone, so {champion.title} cannot be exported. Promote another trial."
            )
    spec = spec_of(model)
    require_readable(model.weights)
    try:
        with safe_open(model.weights, framework="np") as file:
            trained = (file.metadata() or {}).get("recipe", "")
    except (SafetensorError, OSError) as error:
        raise BundleError(
            f"{model.weights} is damaged ({error}). Promote another trial."
        ) from error
    if trained != uid:
        raise BundleError(
            f"{model.weights} is of the recipe {trained or '(unnamed)'}, and the champion is "
            f"{champion.title} of recipe {uid}. Put the trial's own file back."
        )
    model.require_unchanged()
    return spec


def _require_still(folder: StudyFolder, champion: Champion, refit: RefitRecord | None) -> None:
    """Refuse a champion that gave way: what was copied, and the page, may be of the new one."""
    if read_champion(folder) != champion or (refit and read_refit(folder) != refit):
        raise BundleError(
            f"{folder.name} got another champion or refit during the export. Run it again."
        )


def _require_measured(model: ModelFolder, champion: Champion) -> None:
    objective = champion.objective
    if not gives(model.read_scores(), objective, champion.value):
        raise BundleError(
            f"{model.scores} does not give the {objective.metric} for which {champion.title} was "
            "promoted. Put the file back, or promote again."
        )


def _test_scores(model: ModelFolder) -> dict[str, float]:
    stored = model.read_scores()
    test = stored[stored["slice"] == TEST]
    return dict(zip(test["name"].tolist(), test["score"].tolist(), strict=True))


def _times(model: ModelFolder) -> documents.ScoringTimes:
    result = model.read_result()
    whole = result.ms_per_file if result else None
    if not isinstance(model, PackFolder):
        return documents.ScoringTimes(whole)
    members = model.read_pack().members
    return documents.ScoringTimes(whole, tuple(member.ms_per_file for member in members))


def _temperature(model: ModelFolder, champion: Champion) -> Temperature:
    """Return the temperature of the champion's scores, fitted on the slice that is clean."""
    stored = model.read_scores()
    labelled = stored[stored["target"] >= 0]
    name = main_slice(labelled, champion.objective)
    part = labelled[labelled["slice"] == name]
    found = calibrate(part["target"], part["score"])
    if found is None:
        raise BundleError(
            f"The slice {name} holds fewer than two files of a class, too few to fit a temperature "
            "on. Export without --calibrated."
        )
    return Temperature(temperature=found.temperature, slice=name, num_files=found.num_samples)


def _picture_libraries(folder: StudyFolder) -> set[str]:
    """Return the libraries beside Pillow that read some of the test files, as far as is known."""
    if not folder.manifest.exists():
        return set()
    table = read_prepared_table(folder.manifest, columns=["split", "content"])
    facts = FactsStore(Workspace(folder.path.parents[1]).cache)
    known = facts.table(table.loc[table["split"] == "test", "content"].drop_duplicates())
    return {LIBRARIES[form] for form in set(known["container"]) & LIBRARIES.keys()}


def _records(folder: Path) -> dict[str, FileRecord]:
    return {
        path.relative_to(folder).as_posix(): FileRecord(
            sha256=hash_file(path), size_bytes=path.stat().st_size
        )
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
