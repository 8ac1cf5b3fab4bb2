"""The technical report of a bundle: a draft of what the study knows, for a person to complete."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from workbench.console import visible
from workbench.data.prepared_table import read_prepared_table
from workbench.errors import DamagedFileError, StudyError
from workbench.parts.model_spec import ModelSpec
from workbench.parts.pack_spec import PackSpec, members_of
from workbench.parts.pretraining import LABELS, saw_by
from workbench.parts.suited import about
from workbench.rules.rulebook import Verdict
from workbench.selection.champion import Champion, folds_told
from workbench.selection.finalists_told import sentences
from workbench.selection.leaderboard import chosen_among, complete_trials
from workbench.selection.pack_costs import packed_from
from workbench.study.folder import StudyFolder
from workbench.study.looks import looks_elsewhere, read_looks, value_of
from workbench.study.packs import title_within
from workbench.study.records import TrialRow, read_trials
from workbench.study.refits import RefitRecord
from workbench.submission.broken_constraints import broken_constraints
from workbench.submission.data_told import splits_told
from workbench.submission.markdown import as_cell, as_text
from workbench.submission.training_files import averages_told, finalists_of
from workbench.submission.training_record import TrainedModel
from workbench.tables import counted, duration
from workbench.trial.metrics import metrics_by_slice
from workbench.trial.recipe import is_of

REPORT = "TECHNICAL_REPORT.md"

_TO_FILL_IN = "*(to be filled in by you)*"
_LOST = "a trial's folder is gone, or has other weights by now"


@dataclass(frozen=True)
class Reported:
    """What is exported."""

    folder: StudyFolder
    champion: Champion
    refit: RefitRecord | None
    spec: ModelSpec | PackSpec
    verdict: Verdict
    models: Sequence[TrainedModel]
    wheel: str
    """The file that installs the program for `train.py`; empty if the bundle has none."""

    neutral: str
    """How many test files got a neutral score, in a sentence; may be empty."""

    calibrated: str
    """By what the scores are divided, in sentences; may be empty."""


def technical_report(of: Reported) -> str:
    """Return the report as Markdown."""
    sections = {
        "Summary": _summary(of),
        "Data": _data(of),
        "Views": _views(of),
        "Model": _model(of),
        "Training": _training(of),
        "What was searched": _search(of),
        "How it was chosen": _selection(of),
        "Results": _results(of),
        "Extra samples": _extra_samples(of),
        **({"How to run it again": _rerun(of)} if of.wheel else {}),
        "The rules, line by line": _form(of),
    }
    title = f"# Technical report: {of.champion.study}, {of.champion.title}"
    intro = (
        "Drafted from the records of the study. What a program cannot know is marked "
        f"{_TO_FILL_IN}; check the rest. Fill in a copy: nothing in the bundle may be changed."
    )
    parts = [title, intro, *(f"## {name}\n\n{text}" for name, text in sections.items())]
    return "\n\n".join(parts) + "\n"


def _summary(of: Reported) -> str:
    champion = of.champion
    lines = [
        f"- Team, authors, contact: {_TO_FILL_IN}",
        f"- {of.verdict.sentence}",
        f"- {champion.objective.metric} {champion.value:.5f} on {champion.objective.place}.",
        *(f"- {line}" for line in _expected(champion)),
    ]
    if of.refit:
        line = of.refit.lines(of.folder.name)[1]
        lines.append(f"- What is exported is its refit. {line}")
    return "\n".join(lines)


def _expected(champion: Champion) -> Sequence[str]:
    if champion.expected:
        return champion.expected.lines
    return [champion.pack.sentence] if champion.pack else ()


def _data(of: Reported) -> str:
    experiment = of.folder.experiment()
    lines = [f"- Where the data come from, and their licence: {_TO_FILL_IN}"]
    if of.folder.manifest.exists():
        table = read_prepared_table(of.folder.manifest)
        lines += [f"- {told}" for told in splits_told(table, is_refit=of.refit is not None)]
    out_of_fold = folds_told(of.champion.num_folds, is_refit=of.refit is not None)
    lines.append(f"- Validation: {experiment.validation.told}. {out_of_fold}".rstrip())
    if experiment.holdout:
        lines.append("- A locked holdout was kept, whose labels no search read.")
    scored = of.folder.scored_slices()
    named = [name for name in experiment.named_slices if name != "val"]
    if slices := [one for one in named if not scored or any(is_of(n, one) for n in scored)]:
        lines.append(f"- Slices beside val: {', '.join(f'`{name}`' for name in slices)}")
    fingerprints = ", ".join(dict.fromkeys(one.recipe.data for one in of.models))
    lines += [f"- Fingerprint of labels and media: {fingerprints}"] if fingerprints else []
    if of.neutral:
        lines.append(f"- {as_text(of.neutral)}")
    return "\n".join(lines)


def _views(of: Reported) -> str:
    rows = [
        [
            as_cell(name),
            view.kind,
            str(view.shape),
            _shown({key: value for key, value in view.identity().items() if key != "kind"}),
        ]
        for name, view in of.spec.views.items()
    ]
    return _table(["view", "kind", "shape", "settings"], rows)


def _model(of: Reported) -> str:
    rows = [
        [
            one.backbone_label,
            " + ".join(one.views),
            _shown({str(one.image_px): "px", **about(one.reading)}),
            f"{one.dropout:g}",
            one.tta,
            _start(one),
        ]
        for one in members_of(of.spec)
    ]
    header = ["backbone", "views", "input", "dropout", "test-time augmentation", "starts from"]
    verdict = of.verdict
    thop = "not countable" if verdict.params_thop is None else f"{verdict.params_thop:,}"
    counts = [
        f"- Parameters as {verdict.counted_by} counts them: {thop}",
        f"- Parameters truly: {verdict.params_true:,}",
    ]
    if verdict.macs is not None:
        counts.append(f"- Multiply-accumulates of a sample: {verdict.macs:,}")
    if isinstance(of.spec, PackSpec):
        weights = ", ".join(f"{weight:.4g}" for weight in of.spec.joint.weights)
        counts.append(
            f"- One module with one file of weights; its members' scores are joined by "
            f"`{of.spec.joint.kind}` with the weights {weights}"
        )
    return "\n".join([_table(header, rows), "", *counts])


def _start(spec: ModelSpec) -> str:
    told = []
    for weights in dict.fromkeys(spec.weights_of.values()):
        if weights.source == "none":
            told.append("random weights")
        else:
            told.append(
                f"{weights.name} ({LABELS[saw_by(weights).label]}; sha256 {weights.sha256[:16]})"
            )
    return " + ".join(told) or "no pretraining"


def _training(of: Reported) -> str:
    parts = [] if of.models else [f"How all of it was trained is not known: {_LOST}."]
    for one in of.models:
        training = one.recipe.training.model_dump(mode="json", exclude={"augment", "copies"})
        rows = [[key, _shown(value)] for key, value in training.items()]
        rows.append(["augment, copies", _augment(one)])
        own = of.folder if of.refit else of.folder.beside(one.study)
        result = own.model(one.uid).kept_result()
        where = one.device or "an unknown device"
        if one.environment and one.device == "cpu":
            where = f"{one.environment.processor}, CPU threads: {one.environment.num_threads}"
        took = f", in {duration(result.seconds)}" if result else ""
        parts.append(
            f"**{_title(of, one)}** (recipe {one.uid}, seed {one.recipe.seed}), "
            f"on {where}{took}:\n\n" + _table(["setting", "value"], rows)
        )
    if of.refit:
        parts.insert(0, "Trained on the files of train and val together, the last epoch kept.")
    else:
        parts[:0] = averages_told(of.folder, of.champion, is_known=bool(of.models))
    return "\n\n".join(parts)


def _title(of: Reported, one: TrainedModel) -> str:
    return title_within(one.title, one.study, of=of.folder.name)


def _augment(one: TrainedModel) -> str:
    """Return what of augmentation and copies is not as by default, which is none."""
    keys = {"augment", "copies"}
    told = one.recipe.training.model_dump(mode="json", include=keys, exclude_defaults=True)
    return _shown({**told.pop("augment", {}), **told}) or "none"


def _search(of: Reported) -> str:
    experiment, rows = of.folder.experiment(), _rows(of.folder)
    objective = of.folder.objective()
    states = Counter(row.state for row in rows)
    counts = ", ".join(f"{number} {state}" for state, number in states.most_common())
    lines = [
        f"- Trials: {len(rows)} ({counts})" if rows else "- Trials: not known any more",
        f"- Drawn by `{experiment.sampler.kind}`, stopped early by `{experiment.pruning.kind}`",
        f"- Time of all trials: {duration(sum(row.seconds for row in rows))}",
        f"- Objective: {objective.metric} on {objective.place}",
        "- The search space:",
    ]
    space = yaml.safe_dump(of.folder.begun()["space"], sort_keys=False, allow_unicode=True)
    fence = "````"
    return "\n".join([*lines, "", f"{fence}yaml", _in_fence(space), fence])


def _in_fence(text: str) -> str:
    """Return lines of a file as they can stand in a fence of Markdown, which they cannot end."""
    return "\n".join(visible(line) for line in text.rstrip().split("\n")).replace("````", "'''")


def _rows(folder: StudyFolder) -> list[TrialRow]:
    try:
        return read_trials(folder)
    except (StudyError, DamagedFileError):
        return []


def _ended_since(of: Reported) -> str:
    """Return a sentence if there are other trials by now than the champion was chosen among."""
    complete = complete_trials(_rows(of.folder))
    own = next((row for row in complete if row.recipe == of.champion.recipe), None)
    expected, pack = of.champion.expected, of.champion.pack
    if pack:
        now = len(packed_from(complete, of.folder.experiment().constraints))
    else:
        now = len(chosen_among(complete, own))
    if expected and expected.num_trials != now:
        among = expected.num_trials
    elif pack and pack.num_trials < now:  # it may have counted trials of other studies, too
        among = pack.num_trials
    else:
        return ""
    return f"That was told among {among} complete trials; there are {now} now."


def _selection(of: Reported) -> str:
    champion = of.champion
    how = "as the best" if champion.chosen_by == "best" else "by hand"
    lines = [f"Promoted {how} on {champion.when[:10]}.", *champion.reasons]
    lines += [
        told
        for told in broken_constraints(of.folder, champion, of.refit)
        if told not in champion.why
    ]
    lines.append(_ended_since(of))
    if finalists := finalists_of(of.folder):
        lines += sentences(finalists)
    return "\n".join(f"- {visible(line)}" for line in lines if line)


def _results(of: Reported) -> str:
    champion, metric = of.champion, of.champion.objective.metric
    parts = [f"{metric} {champion.value:.5f} on {champion.objective.place}."]
    parts += [as_text(champion.unseen), *_expected(champion)]
    measured = metrics_by_slice(of.folder.model(champion.recipe).read_scores())
    if measured:
        shown = ("auc", "log_loss", "f1", "tpr_at_fpr_1e-2")
        rows = [
            [as_cell(name), *(f"{values[each]:.4f}" for each in shown)]
            for name, values in measured.items()
        ]
        parts.append(_table(["slice", *shown], rows))
        if of.calibrated:
            parts.append("The log-loss above is that of the scores before they are calibrated.")
    told = [look for look in read_looks(of.folder) if look.is_told]
    if told:
        parts.append(
            f"The holdout was looked at {counted(len(read_looks(of.folder)), 'time')}: "
            f"{value_of(told[-1])}."
        )
    elif of.folder.experiment().holdout:
        parts.append("No audit of this study looked at the holdout yet (`workbench audit`).")
    if elsewhere := looks_elsewhere(of.folder):
        parts.append(f"Other studies looked at the same holdout: {elsewhere}.")
    parts += of.refit.lines(of.folder.name) if of.refit else []
    return "\n\n".join(filter(None, [*parts, of.calibrated]))


def _extra_samples(of: Reported) -> str:
    said = "None were generated: every training file is one that the data hold."
    if not of.models:
        said = f"Whether any were generated is not known: {_LOST}."
    if _fakes_made(of):
        said = "Fakes were made of real training files; every other file is one that the data hold."
    lines = [f"- {_title(of, one)}: {_augment(one)}" for one in of.models] or ["- not known"]
    return "\n".join([f"{said} What training changes of them on the fly:", "", *lines])


def _fakes_made(of: Reported) -> str:
    """Return by what training makes fakes of real files, with the chances; empty if by nothing."""
    made: dict[str, None] = {}
    for training in (one.recipe.training for one in of.models):
        chances = {**training.copies.forged, "self_blend": training.augment.pictures.self_blend}
        made[_shown({name: chance for name, chance in chances.items() if chance})] = None
    told = "; ".join(filter(None, made))
    return f"fakes of real training files: {told}" if told else ""


def _rerun(of: Reported) -> str:
    return """\
`requirements.txt` has the versions that prediction needs; the wheel installs the whole program.

```sh
python predict.py --template TEMPLATE.csv --media TESTSET --out ../filled.csv
pip install ./workbench-*.whl
python train.py --data DIR --out ../retrained
```

The last command trains every model of this bundle from scratch and compares: to the bit on a CPU \
of the same kind with the same threads and versions, else within a tolerance that it states. \
Starting weights are read from the folder of `--weights`, or, where they were of the weights hub, \
from its cache or from there."""


def _form(of: Reported) -> str:
    rulebook = of.folder.experiment().rulebook
    refuses = {rule.name: rule.refuses for rule in rulebook.rules}
    rows = [
        [
            f"`{said.name}`: none {refuses[said.name]}",
            visible(said.sentence),
            "yes" if said.ok else "**no**",
        ]
        for said in of.verdict.results
    ]
    known = "yes" if of.models else "not known"
    seeds = ", ".join(f"{_title(of, one)}: {one.recipe.seed}" for one in of.models)
    made, held = _fakes_made(of), ""
    none = "none" if of.models else ""
    if of.folder.experiment().holdout:
        held = f"; its holdout was looked at {counted(len(read_looks(of.folder)), 'time')}"
        if elsewhere := looks_elsewhere(of.folder):
            held += f", and by other studies: {elsewhere}"
    rows += [
        ["Training data", "the files of the data folder alone, told by their fingerprint", known],
        ["Generated samples", made or none, _TO_FILL_IN if made else known],
        ["Test files", f"scored, never trained on; no label of them was read{held}", "yes"],
        ["Network at run time", "prediction opens no connection", "yes"],
        ["Seeds", seeds, known],
        ["Test files looked at or labelled by hand", "not known to the program", _TO_FILL_IN],
        ["Data or models from elsewhere", "not known to the program", _TO_FILL_IN],
        ["Licence of this code and these weights", "not known to the program", _TO_FILL_IN],
        ["Any other line of the rules", "not known to the program", _TO_FILL_IN],
    ]
    return _table(["rule", "what was checked", "kept"], rows)


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_shown(each)}" for key, each in value.items())
    return visible(f"{value:g}" if isinstance(value, float) else str(value))


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)
