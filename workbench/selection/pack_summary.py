"""What a pack is made of: which member says what, how far they agree, what each adds."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from workbench.errors import DamagedFileError, StudyError
from workbench.parts.joint import Joint, MeanOfProbabilities
from workbench.selection.champion import Champion
from workbench.selection.finalists import better_by_now
from workbench.selection.joining import joined
from workbench.selection.leaderboard import broken_told
from workbench.selection.mistakes import worst_mistakes
from workbench.selection.operating_points import (
    OperatingPoint,
    operating_points,
    rates_in_words,
)
from workbench.selection.packing import on_shared_slices, was_trained_again
from workbench.selection.slice_values import CLEAN, main_slice
from workbench.study.file_groups import groups_of_scores
from workbench.study.folder import StudyFolder
from workbench.study.packs import (
    PackEstimate,
    PackFolder,
    PackMember,
    PackRecord,
    broken_by,
    members_told,
)
from workbench.study.records import TrialRow
from workbench.tables import text_table
from workbench.trial.metrics import metrics_by_slice, objective_metrics
from workbench.trial.recipe import Objective
from workbench.values import Frozen

MOST_MISTAKES = 6
"""Of a pack that are told."""

_SAMPLE = ["slice", "name", "target"]


class MemberSummary(Frozen):
    """One member of a pack."""

    name: str
    """The trial's number, or `soup` and its name, with its study where that is another."""

    model: str
    """Backbones, views and size in a few words."""

    weight: float
    """In the joint."""

    value: float
    """Its own objective."""

    without: float | None
    """The objective of the pack without it, the others weighed as they are; none of the last one.
    """

    agreement: float | None
    """The mean rank correlation of its scores with those of the other members."""

    ms_per_file: float | None
    """What scoring took of a file, in milliseconds, from its stored views on."""


class PackMistake(Frozen):
    """A file that a pack is wrong about, and what each member says of it."""

    name: str
    target: int
    """1 is fake."""

    score: float
    by_member: tuple[float, ...]
    """The score of each member, in their order."""


class PackSummary(Frozen):
    """A pack, for its table and its page."""

    uid: str
    title: str
    objective: Objective
    value: float
    """Of the objective, as measured on the files that it was chosen by."""

    by_slice: dict[str, float]
    """The same metric on each labelled slice."""

    num_trials: int
    """Complete trials that it was chosen among."""

    members: tuple[MemberSummary, ...]
    mistakes: tuple[PackMistake, ...]
    """Those that it is surest of."""

    joint: str
    """How the scores become one, in a few words."""

    estimate: PackEstimate | None
    best_single: int | None
    """The trial that it is held against, of its study."""

    overtaken: str = ""
    """A sentence if another trial is better than that one by now."""

    breaks: tuple[str, ...] = ()
    """The constraints that it breaks as a whole, each in words."""

    params_thop: int | None
    params_true: int | None
    ms_per_file: float | None
    """Of all members together."""

    clean_slice: str
    """The slice of the operating points."""

    operating_points: tuple[OperatingPoint, ...]
    """Of the pack itself."""

    @property
    def gain_in_words(self) -> list[str]:
        """How it stands to the best single model, in sentences."""
        gain = self.estimate.gain_sentence if self.estimate else ""
        return [said for said in (gain, self.overtaken) if said]

    @property
    def broken_in_words(self) -> str:
        """Which constraints it breaks, in a sentence; empty if it keeps all."""
        return broken_told(self.breaks, by="The pack")

    @property
    def rates_in_words(self) -> str:
        """The operating points for a person; empty where a class has no file."""
        return rates_in_words(self.clean_slice, self.operating_points)


def summarise_pack(folder: StudyFolder, files: PackFolder) -> PackSummary:
    """Return what a pack of a study is made of.

    Raises:
        StudyError: the pack is not whole, or its members were trained again since.
        DamagedFileError: its files, or the scores of a member, are gone or damaged.
    """
    record, result = files.read_pack(), files.read_result()
    if result is None or result.objective is None:
        raise StudyError(
            f"The pack in {files.path} is incomplete. Remove this folder, and run `workbench pack`."
        )
    table, columns = _columns(folder, record)
    names = record.member_names(folder.name)
    value = _value(table, columns, record.spec.joint, record.objective)
    is_same = math.isclose(value, result.objective, rel_tol=1e-4, abs_tol=1e-6)
    # With other weights a member may reach the same value, and score single files otherwise.
    if not is_same or any(was_trained_again(folder, one) for one in record.members):
        raise StudyError(
            f"The members of the pack in {files.path} have other scores than when it was made, as "
            "where they were trained again. `workbench pack` makes another."
        )
    clean = main_slice(table, record.objective)
    agreement = _agreement(table, columns, record.objective)
    members = tuple(
        MemberSummary(
            name=names[place],
            model=member.trained.model.label,
            weight=record.spec.joint.weights[place],
            value=member.objective,
            without=_without(table, columns, record, place),
            agreement=agreement[place],
            ms_per_file=member.ms_per_file,
        )
        for place, member in enumerate(record.members)
    )
    return PackSummary(
        uid=record.uid,
        title=members_told(names),
        objective=folder.as_scored(record.objective),
        value=value,
        by_slice={
            name: values[record.objective.metric]
            for name, values in metrics_by_slice(files.read_scores()).items()
        },
        num_trials=record.num_trials,
        members=members,
        mistakes=_mistakes(table, columns, record.spec.joint),
        joint=_joint_in_words(record.spec.joint),
        estimate=record.estimate,
        best_single=record.best_single,
        breaks=broken_by(folder.experiment().constraints, record, result),
        params_thop=record.params_thop,
        params_true=record.params_true,
        ms_per_file=result.ms_per_file,
        clean_slice=clean,
        operating_points=_operating_points(folder, table, columns, record.spec.joint, clean),
    )


def describe_pack(summary: PackSummary, worth: Sequence[str] | None = None) -> str:
    """Return a pack for a terminal: its members in a table, and what it is worth.

    Args:
        summary: Of the pack.
        worth: What it is worth, in sentences; by default what its estimate says.
    """
    if worth is None:
        worth = [summary.estimate.sentence] if summary.estimate else []
        worth += [*summary.gain_in_words, *filter(None, [summary.broken_in_words])]
    metric = summary.objective.metric
    header = ["trial", "weight", metric, "pack without it", "agrees", "model"]
    rows = [
        [
            one.name,
            f"{one.weight:.3f}",
            f"{one.value:.4f}",
            "" if one.without is None else f"{one.without:.4f}",
            "" if one.agreement is None else f"{one.agreement:.2f}",
            one.model,
        ]
        for one in summary.members
    ]
    params = [count for count in (summary.params_thop, summary.params_true) if count is not None]
    cost = f"{max(params) / 1e6:.1f}M parameters" if params else "parameters unknown"
    if summary.ms_per_file is not None:
        cost += f", {summary.ms_per_file:.1f} ms a file to score"
    lines = [
        text_table(header, rows),
        "",
        f"Pack {summary.uid}: {summary.joint}; {metric} {summary.value:.4f} on "
        f"{summary.objective.place}; {cost}.",
        *worth,
    ]
    return "\n".join(lines)


def kept_pack(
    folder: StudyFolder, champion: Champion | None, rows: Sequence[TrialRow] = ()
) -> PackSummary | None:
    """Return the pack that is the champion, else the one that was made last.

    Of the study's trials in `rows`, one may be better than that which it was held against.

    Nothing where there is none, or where its files or those of a member are gone or damaged.
    """
    is_champion = champion is not None and champion.is_pack
    if not is_champion and not folder.last_pack.exists():
        return None
    try:
        files = folder.pack(champion.recipe) if champion and is_champion else folder.newest_pack()
        found = summarise_pack(folder, files)
    except (StudyError, DamagedFileError):
        return None
    if found.estimate is None:
        return found
    held = found.estimate.finalist
    overtaken = better_by_now(folder, held, found.best_single, rows, found.objective)
    return found.model_copy(update={"overtaken": overtaken})


def decision_for_pack(summary: PackSummary, max_params: int, *, is_by_hand: bool) -> list[str]:
    """Return the decision for a promoted pack: what it is, what to expect, what it costs."""
    metric, found = summary.objective.metric, summary.estimate
    by_hand = ", named by hand" if is_by_hand else ""
    what = (
        f"The pack of {summary.title} is promoted{by_hand}: {summary.joint}, chosen among "
        f"{summary.num_trials} complete trials."
    )
    if found is not None and found.expected is not None:
        within = ""
        if found.low is not None and found.high is not None:
            within = f" ({found.low:.3f} to {found.high:.3f}, 95%)"
        expect = (
            f"On new data of this kind, expect {metric} {found.expected:.3f}{within}: its "
            f"{summary.value:.3f} on {summary.objective.place} is corrected for the choice"
        )
    else:
        expect = (
            f"It had {metric} {summary.value:.3f} on {summary.objective.place}, which the choice "
            "flatters"
        )
    # As of a trial: of the objective's own slices, the fakes of one generator are of another kind.
    own = {summary.objective.place, *summary.objective.slices_among([CLEAN])}
    others = sorted((value, name) for name, value in summary.by_slice.items() if name not in own)
    if others:
        (low, least), (high, most) = others[0], others[-1]
        expect += f"; on other slices {low:.3f} ({least})"
        expect += f" to {high:.3f} ({most})" if len(others) > 1 else ""
    known = [count for count in (summary.params_thop, summary.params_true) if count is not None]
    cost = f"{max(known) / 1e6:.2f}M parameters" if known else "an unknown number of parameters"
    cost += f" of {max_params / 1e6:.0f}M allowed"
    if summary.ms_per_file is not None:
        cost += f", {summary.ms_per_file:.0f} ms a file"
    caveat = found.caveat if found else ""
    costs = f"As one module it has {cost}. {summary.broken_in_words}".strip()
    return [what, f"{expect}. {caveat}".strip(), costs]


def _joint_in_words(joint: Joint) -> str:
    if isinstance(joint, MeanOfProbabilities):
        return "the weighted mean of its members' probabilities"
    said = "a weighted sum of its members' logits"
    return f"{said}, bias {joint.bias:+.3f}" if joint.bias else said


def _study_of(folder: StudyFolder, member: PackMember) -> StudyFolder:
    return folder if member.study == folder.name else StudyFolder(folder.path.parent / member.study)


def _columns(
    folder: StudyFolder, record: PackRecord
) -> tuple[pd.DataFrame, npt.NDArray[np.float64]]:
    """Return the labelled samples of the objective and the members' scores, (samples, members)."""
    tables = []
    for member in record.members:
        scores = _study_of(folder, member).trial(member.recipe).read_scores()
        labelled = scores[scores["target"] >= 0]
        tables.append(labelled)
    titles = [member.title_in(folder.name) for member in record.members]
    kept = on_shared_slices(tables, [f"{title[0].upper()}{title[1:]}" for title in titles])
    columns = np.stack([table["score"].to_numpy(np.float64) for table in kept], axis=1)
    return kept[0][_SAMPLE], columns


def _value(
    table: pd.DataFrame, columns: npt.NDArray[np.float64], joint: Joint, objective: Objective
) -> float:
    scores = joined(joint, columns.T)
    scored = {
        str(name): (part["target"], scores[part.index.to_numpy()])
        for name, part in table.groupby("slice", sort=False)
    }
    return objective_metrics(objective, scored)[objective.metric]


def _mistakes(
    table: pd.DataFrame, columns: npt.NDArray[np.float64], joint: Joint
) -> tuple[PackMistake, ...]:
    scored = table.reset_index(drop=True).assign(score=joined(joint, columns.T))
    found = []
    for one in worst_mistakes(scored, MOST_MISTAKES):
        at = (scored["slice"] == one.slices[0]) & (scored["name"] == one.name)
        [by_member] = columns[at.to_numpy()].tolist()
        said = PackMistake(
            name=one.name, target=one.target, score=one.score, by_member=tuple(by_member)
        )
        found.append(said)
    return tuple(found)


def _operating_points(
    folder: StudyFolder,
    table: pd.DataFrame,
    columns: npt.NDArray[np.float64],
    joint: Joint,
    clean: str,
) -> tuple[OperatingPoint, ...]:
    at = (table["slice"] == clean).to_numpy()
    targets, groups = table["target"].to_numpy()[at], groups_of_scores(folder, table[at])
    if len(set(targets.tolist())) < 2:
        return ()
    return operating_points(targets, joined(joint, columns[at].T), groups)


def _without(
    table: pd.DataFrame, columns: npt.NDArray[np.float64], record: PackRecord, place: int
) -> float | None:
    joint = record.spec.joint
    left = [weight for other, weight in enumerate(joint.weights) if other != place]
    if not sum(left):
        return None
    if isinstance(joint, MeanOfProbabilities):
        left = [weight / sum(left) for weight in left]
    rest = joint.model_copy(update={"weights": tuple(left)})
    return _value(table, np.delete(columns, place, axis=1), rest, record.objective)


def _agreement(
    table: pd.DataFrame, columns: npt.NDArray[np.float64], objective: Objective
) -> list[float | None]:
    """Return of each member the mean Spearman correlation with the others, on the clean slice."""
    at = (table["slice"] == main_slice(table, objective)).to_numpy()
    num = columns.shape[1]
    if num == 1:
        return [None]
    together = pd.DataFrame(columns[at]).corr(method="spearman").to_numpy()
    found = [float(np.delete(together[place], place).mean()) for place in range(num)]
    return [value if np.isfinite(value) else None for value in found]
