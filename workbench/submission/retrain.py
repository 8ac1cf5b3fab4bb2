"""The training of a bundle repeated from scratch, and held against what was exported."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from safetensors.torch import load_file, save_file

from workbench.access import full_disk_told
from workbench.console import say
from workbench.data.columns import Columns
from workbench.data.labels import read_template
from workbench.data.prepare import Prepared
from workbench.errors import BundleError, WeightsError
from workbench.files import PART, finished, hash_file, read_json, sweep, write_json
from workbench.parts.pretrained import overlay
from workbench.parts.temperature import tempered
from workbench.scoring.slices import TEST
from workbench.searching.devices import Seats, choose_seats
from workbench.selection.packing import join_tables, pack_tensors
from workbench.selection.soup import average_again
from workbench.study.folder import StudyFolder
from workbench.study.provenance import code_tags
from workbench.submission.agreement import REFIT, read_champion_of
from workbench.submission.contents import Contents
from workbench.submission.paths import check_place
from workbench.submission.places import MANIFEST, PREDICTIONS, WEIGHTS, read_temperature
from workbench.submission.retrain_checks import (
    Check,
    Tolerance,
    check_documents,
    check_model,
    check_predictions,
    check_value,
    nothing_compared,
    tolerance_for,
    tolerance_told,
    why_not_bits,
)
from workbench.submission.retrain_data import has_same_test, other_orders, retraining_data
from workbench.submission.training_record import (
    TrainedModel,
    TrainingRecord,
    read_training,
    told_apart,
)
from workbench.submission.verify import check_bundle
from workbench.trial.in_process import train_here
from workbench.trial.result import TrialFolder
from workbench.workspace import Workspace

OUTCOME = "retrain.json"
"""File of the outcome, by which a folder is known to be one of a repeated training."""


@dataclass(frozen=True)
class Retrained:
    """What came of a repeated training."""

    out: Path
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing that was held against the exported model failed."""
        return all(check.ok is not False for check in self.checks)


@dataclass(frozen=True)
class How:
    """How a training is repeated."""

    device: str | None = None
    """A torch device, or `auto`; by default the CPU where the model was trained on one."""

    store: Path = Path("weights")
    """Folder of local weights to start from."""

    slices: Mapping[str, Path] | None = None
    """Labelled folders by the names of their slices."""

    tolerance: float | None = None
    """Of the objective, where bits cannot be the same."""

    all_seeds: bool = False
    """Whether the other repeats of the champion are trained, too."""


def retrain(bundle: Path, data: Path, out: Path, how: How) -> Retrained:
    """Train the model of a bundle from scratch, every member of a pack, and compare.

    A training that was cut off goes on where it was; what ended is not trained again. `out` is a
    new folder for what is trained and decoded; or that of the same bundle, to go on.

    Raises:
        BundleError: the bundle was changed, does not say how it was trained, or was made by another
            version; or `out` is in use.
        DataError: the data are not those that it was trained on.
        WeightsError: the weights that it starts from cannot be had.
        WorkbenchError: a training failed, or something cannot be read or written.
        KeyboardInterrupt: Ctrl-C; the same call goes on.
    """
    contents, record = check_bundle(bundle), read_training(bundle)
    tags = code_tags()
    _require_version(bundle, record, tags["version.workbench"])
    repeats = record.repeats if how.all_seeds else ()
    trained = told_apart([*record.models, *repeats], contents.study)
    checks = [_program(record, tags), check_documents(bundle, contents)]
    checks.append(_starts(trained, how.store))
    _begin(out, bundle)
    device = how.device or ("cpu" if record.models[0].device == "cpu" else "auto")
    seats, workspace = choose_seats(device, 1), Workspace(out)
    with full_disk_told(out):
        prepared = {
            study: retraining_data(
                record,
                study,
                bundle,
                data,
                workspace,
                store=how.store,
                slices=how.slices or {},
                device=seats.devices[0],
            )
            for study in dict.fromkeys(one.study for one in trained)
        }
        checks.append(_data_told(record, prepared))
        tolerance = tolerance_for(record.spread, how.tolerance)
        is_bits, num_told = not record.soups, len(checks)  # a soup's norms are estimated anew
        for place, one in enumerate(trained):
            files, reasons = _trained(one, prepared[one.study], workspace, seats, how.store, tags)
            reasons += other_orders(record, one.study, prepared[one.study])
            result, scores = files.read_result(), files.read_scores()
            assert result is not None  # it was trained
            lines = check_model(
                one,
                result,
                scores,
                reasons=reasons,
                tolerance=tolerance,
                has_same_test=has_same_test(record, one.study, prepared[one.study]),
            )
            say("\n".join(f"{check.what}: {check.said}" for check in lines))
            checks += lines
            if place < len(record.models):
                is_bits = is_bits and not reasons
        if not is_bits:
            metric = record.models[0].recipe.objective.metric
            checks.append(tolerance_told(tolerance, metric))
        members = _members(record, prepared, workspace, seats)
        checks.append(_model_file(record, contents, members, out, is_bits=is_bits))
        scores = _scores(record, members)
        if REFIT not in contents.files and (record.pack or record.soups):
            value = check_value(read_champion_of(bundle), scores, is_bits, tolerance)
            checks.append(value)
        checks.append(_predictions(record, contents, bundle, prepared, scores, is_bits, tolerance))
        checks += nothing_compared(checks[num_told:])
        outcome = {"bundle": hash_file(bundle / MANIFEST), "recipe": record.recipe}
        lines_told = [check.model_dump() for check in checks]
        write_json(out / OUTCOME, {**outcome, "checks": lines_told})
    return Retrained(out, tuple(checks))


def _require_version(bundle: Path, record: TrainingRecord, here: str) -> None:
    if record.version != here:
        raise BundleError(
            f"{bundle} was made by version {record.version} of this program, and this is {here}. "
            f"Install {record.wheel}, which is in it, in an environment of its own, and run its "
            "train.py there."
        )


def _begin(out: Path, bundle: Path) -> None:
    """Make the folder `out`, or find that it is of this bundle.

    Raises:
        BundleError: it is in the bundle, or is something else.
        DataError: it cannot be written.
    """
    if out.resolve().is_relative_to(bundle.resolve()):
        raise BundleError(
            f"--out {out} is inside the bundle, which must stay as it was exported. Name a "
            "folder elsewhere."
        )
    check_place(out)
    of_bundle = {"bundle": hash_file(bundle / MANIFEST)}
    # A kill at the very beginning leaves no more than a part.
    if not os.path.lexists(out) or (out.is_dir() and not any(map(_is_whole, out.iterdir()))):
        out.mkdir(parents=True, exist_ok=True)
        write_json(out / OUTCOME, of_bundle)
    try:
        known = read_json(out / OUTCOME)
    except (OSError, ValueError, RecursionError):
        known = None
    if not isinstance(known, dict) or known.get("bundle") != of_bundle["bundle"]:
        raise BundleError(
            f"{out} exists and holds no training of {bundle}. Remove it, or name another folder by "
            "--out."
        )
    sweep(out)


def _is_whole(file: Path) -> bool:
    return not file.name.startswith(PART)


def _program(record: TrainingRecord, tags: Mapping[str, str]) -> Check:
    said = f"version {record.version}"
    if record.code_hash == tags["code_hash"]:
        return Check(what="program", ok=True, said=f"{said}, code {record.code_hash}: the same")
    said += f", but code {tags['code_hash']} in place of {record.code_hash}"
    return Check(what="program", ok=None, said=said)


def _starts(models: Sequence[TrainedModel], store: Path) -> Check:
    """Return the line of the weights that models start from, after looking for all of them.

    Raises:
        WeightsError: some are gone, or are others.
    """
    told: dict[str, None] = {}
    for one in models:
        spec = one.recipe.model
        for view, weights in spec.weights_of.items():
            if weights.source == "none":
                told["random, by the seed of the recipe"] = None
                continue
            try:
                overlay(spec.backbone_of[view], weights, store)
            except WeightsError as error:
                raise WeightsError(
                    f"The weights that {one.title} starts from cannot be had: {error}"
                ) from error
            told[f"{weights.name} {weights.sha256[:12]}"] = None
    said = ", ".join(told) or "none are needed"
    return Check(what="starting weights", ok=True, said=said)


def _data_told(record: TrainingRecord, prepared: Mapping[str, Prepared]) -> Check:
    study = next(iter(prepared))
    splits, lost = record.data[study], prepared[study].left_out()["split"].tolist()
    counts = ", ".join(
        f"{split} {splits[split].num_files} files, {splits[split].num_fake} fake"
        + (f" ({lost.count(split)} of which no view could be made)" if split in lost else "")
        for split in ("train", "val")
        if split in splits
    )
    return Check(what="data", ok=True, said=f"{counts}: the same labels and media")


def _trained(
    one: TrainedModel,
    prepared: Prepared,
    workspace: Workspace,
    seats: Seats,
    store: Path,
    tags: Mapping[str, str],
) -> tuple[TrialFolder, list[str]]:
    """Train one model; return its files, and why its bits need not be those of the exported."""
    files = StudyFolder(workspace.studies / one.study).trial(one.uid)
    result = train_here(
        one.recipe.named(one.uid),
        prepared,
        files,
        device=seats.devices[0],
        num_threads=one.environment.num_threads if one.environment else seats.num_threads,
        title=one.title,
        store=store,
        cache=workspace.cache,
        compiled="on" if one.compiled else "off",
    )
    assert result.environment is not None  # this version wrote it
    return files, why_not_bits(one, result, result.environment, tags["code_hash"])


def _members(
    record: TrainingRecord, prepared: Mapping[str, Prepared], workspace: Workspace, seats: Seats
) -> list[TrialFolder]:
    """Return the files of the model, or of each member of the pack, its soups averaged again."""
    soups = {soup.recipe: soup for soup in record.soups}
    found = []
    for study, uid in _named(record):
        folder = StudyFolder(workspace.studies / study)
        if uid in soups:
            average_again(folder, prepared[study], soups[uid], device=seats.devices[0])
        found.append(folder.trial(uid))
    return found


def _named(record: TrainingRecord) -> Sequence[tuple[str, str]]:
    """Return the study and the uid of the model, or of each member of the pack."""
    return record.members or [(one.study, one.uid) for one in record.models]


def _scores(record: TrainingRecord, members: Sequence[TrialFolder]) -> pd.DataFrame:
    """Return the scores of the whole model."""
    tables = [one.read_scores() for one in members]
    if record.pack is None:
        return tables[0]
    return join_tables(record.pack.joint, tables, [uid for _, uid in _named(record)])


def _model_file(
    record: TrainingRecord,
    contents: Contents,
    files: Sequence[TrialFolder],
    out: Path,
    *,
    is_bits: bool,
) -> Check:
    """Write the whole model into `out`; return how it compares with that of the bundle."""
    tensors = pack_tensors(record.pack, files) if record.pack else load_file(files[0].weights)
    with finished(out / WEIGHTS) as part:
        save_file(tensors, part, metadata={"recipe": record.recipe})
    if hash_file(out / WEIGHTS) == contents.files[WEIGHTS].sha256:
        return Check(what=WEIGHTS, ok=True, said="the same file")
    if is_bits:
        return Check(what=WEIGHTS, ok=False, said="another file than that of the bundle")
    said = "another file, as its trainings or averages may have other bits"
    return Check(what=WEIGHTS, ok=None, said=said)


def _predictions(
    record: TrainingRecord,
    contents: Contents,
    bundle: Path,
    prepared: Mapping[str, Prepared],
    scores: pd.DataFrame,
    is_bits: bool,
    tolerance: Tolerance,
) -> Check:
    """Return how the scores of the test files compare with those that were exported."""
    exported = _exported(bundle, contents)
    if not exported:
        return Check(what="predictions", ok=None, said="none: the data have no test files")
    study = record.models[0].study
    if not has_same_test(record, study, prepared[study]):
        return check_predictions(exported, None, is_bits=is_bits, tolerance=tolerance)
    test = scores[scores["slice"] == TEST]
    names, values = test["name"].tolist(), test["score"].tolist()
    values = tempered(values, read_temperature(bundle)).tolist()
    here = dict(zip(names, values, strict=True))
    return check_predictions(exported, here, is_bits=is_bits, tolerance=tolerance)


def _exported(bundle: Path, contents: Contents) -> dict[str, float]:
    """Return the scores that the bundle has of the test files."""
    columns = Columns(name=contents.name_column, score=contents.score_column)
    template = read_template(bundle / PREDICTIONS, columns, may_be_empty=True)
    scores = [float(cell) for cell in template.table[template.score_column]]
    return dict(zip(template.names, scores, strict=True))
