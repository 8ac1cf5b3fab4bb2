"""What a pack of trials is worth on the test files of studies that were searched.

python -m tests.benchmarks.packs STUDY_FOLDER TEST_LABELS [STUDY_FOLDER TEST_LABELS ...]
    [--draws 100] [--trials 20] [--divisions 8] [--of-one-kind]

STUDY_FOLDER and TEST_LABELS are as for `tests.benchmarks.regret`, and so are the small studies: so
many trials drawn by chance from those of a study, and of fewer than twice as many, half of them. Of
each, the best single trial by the study's objective and packs are chosen, of members of equal cost;
a row is a way to make the pack. `gain` is how much higher the pack's test AUC is than the single
trial's, and its error one standard error of the mean over the small studies: it says how exactly
this table knows the gain of this one set of trainings; it says nothing of other data.

Below it: how often the corrected interval of the pack, made from val alone, holds its test AUC. It
is to hold the AUC of files of val's kind; the test files may be of another kind. So
`--of-one-kind` makes them one kind: each small study has a val of its own, drawn by chance, with
replacement, from the files of val and test together, as many of each class as val has; and its test
files are all of them. Then the objective is the AUC on val alone.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from workbench.data.labels import read_labels
from workbench.parts.joint import MeanOfProbabilities
from workbench.scoring.slices import TEST
from workbench.selection.choosing import SliceScores
from workbench.selection.joining import JointName
from workbench.selection.pack_choice import ChosenPack, ForwardSearch, choose_pack, legal_trials
from workbench.selection.pack_correction import correct_pack
from workbench.selection.pack_limits import MemberCost, PackLimits
from workbench.study.folder import StudyFolder
from workbench.study.records import read_trials
from workbench.trial.delong import auc
from workbench.trial.recipe import Objective

COST = MemberCost(1)


class Scored(NamedTuple):
    """The scores of every training of a study."""

    objective: Objective
    measured: list[SliceScores]
    """On each slice of the objective, every file a group of its own."""

    val: SliceScores
    test: SliceScores


class Way(NamedTuple):
    """A way to make a pack."""

    joint: JointName = "mean"
    members: int = 8
    search: ForwardSearch | None = None


WAYS: dict[str, Way] = {
    **{f"{joint}, up to 8": Way(joint) for joint in ("mean", "calibrated", "logistic")},
    **{f"mean, up to {number}": Way(members=number) for number in (2, 3, 5, 12)},
    **{
        f"mean, up to 8, bagged, begun with {number}": Way(search=ForwardSearch(begin=number))
        for number in (1, 4, 8)
    },
    "mean, up to 8, one bag, begun with 8": Way(search=ForwardSearch(bags=1)),
}


def read_scored(path: Path, test_labels: Path) -> Scored:
    """Return the scores of the complete trials of the study in `path`."""
    folder = StudyFolder(path)
    objective = folder.experiment().objective
    rows = [row for row in read_trials(folder) if row.state == "complete"]
    tables = [folder.trial(row.recipe).read_scores() for row in rows]
    tables = [table.sort_values(["slice", "name"], ignore_index=True) for table in tables]
    first = tables[0]
    assert all(table[["slice", "name"]].equals(first[["slice", "name"]]) for table in tables)
    labels = read_labels(test_labels).table.set_index("name")["target"]
    targets = first["target"].where(first["slice"] != TEST, first["name"].map(labels))
    if targets.isna().any():
        raise SystemExit(f"{test_labels} has no label of {first['name'][targets.isna()].iloc[0]}")
    scores = np.stack([table["score"].to_numpy(np.float64) for table in tables])
    numbers = pd.factorize(first["name"])[0].astype(np.int64)

    def of(name: str) -> SliceScores:
        kept = (first["slice"] == name).to_numpy()
        groups = np.unique(numbers[kept], return_inverse=True)[1].astype(np.int64)
        return SliceScores(targets.to_numpy(np.int64)[kept], scores[:, kept], groups)

    names = objective.slices_among(first["slice"].unique())
    return Scored(objective, [of(name) for name in names], of("val"), of(TEST))


def drawn(scored: Scored, trials: npt.NDArray[np.int64]) -> Scored:
    """Return a study of some of the trials."""

    def of(one: SliceScores) -> SliceScores:
        return SliceScores(one.targets, one.scores[trials], one.groups)

    measured = [of(one) for one in scored.measured]
    return Scored(scored.objective, measured, of(scored.val), of(scored.test))


def of_one_kind(scored: Scored, rng: np.random.Generator) -> Scored:
    """Return a study whose val is drawn from all labelled files, and whose test files they are."""
    targets = np.concatenate([scored.val.targets, scored.test.targets])
    scores = np.concatenate([scored.val.scores, scored.test.scores], axis=1)
    everyone = SliceScores(targets, scores, np.arange(len(targets)))
    picked = np.concatenate(
        [
            rng.choice(np.flatnonzero(targets == target), np.sum(scored.val.targets == target))
            for target in (0, 1)
        ]
    )
    val = SliceScores(targets[picked], scores[:, picked], np.arange(len(picked)))
    return Scored(Objective(), [val], val, everyone)


def packs_of(study: Scored, seed: int) -> dict[str, ChosenPack]:
    """Return the pack that each way makes of a study, the best single trial first."""
    costs = [COST] * len(study.test.scores)
    best = int(legal_trials(study.measured, study.objective, costs, PackLimits())[0])
    alone = MeanOfProbabilities(weights=(1.0,))
    found = {"best single trial": ChosenPack((best,), alone)}
    for name, way in WAYS.items():
        pack = choose_pack(
            study.measured,
            study.objective,
            costs,
            PackLimits(members=way.members),
            joint=way.joint,
            search=way.search,
            seed=seed,
        )
        assert pack is not None
        found[name] = pack
    return found


def report(name: str, values: pd.DataFrame, members: Mapping[str, float]) -> None:
    """Print the table of a study, from the test AUC of every way in every small study."""
    print(
        f"\n{name}\n| pack | members | test AUC | gain | error |\n| --- | --- | --- | --- | --- |"
    )
    gains = values.sub(values["best single trial"], axis=0)
    for way in values:
        error = gains[way].std(ddof=1) / np.sqrt(len(gains))
        print(
            f"| {way} | {members[str(way)]:.1f} | {values[way].mean():.4f} | "
            f"{gains[way].mean():+.4f} | {error:.4f} |"
        )


def coverage(study: Scored, divisions: int, seed: int) -> tuple[bool, float, bool, float, bool]:
    """Return whether the interval holds the test AUC, and by how much the value is off.

    Then whether the gain's interval holds the test gain, the gain, and whether the pack is
    promoted.
    """
    costs = [COST] * len(study.test.scores)
    found = correct_pack(study.measured, study.objective, costs, divisions=divisions, seed=seed)
    assert found is not None
    best = int(legal_trials(study.measured, study.objective, costs, PackLimits())[0])
    of_pack = auc(study.test.targets, found.pack.scores(study.test)).value
    of_best = auc(study.test.targets, study.test.scores[best]).value
    expected = found.of_pack
    return (
        expected.low <= of_pack <= expected.high,
        expected.value - of_pack,
        found.gain_low <= of_pack - of_best <= found.gain_high,
        found.gain,
        found.is_pack_promoted,
    )


def main() -> None:
    """Print a table for each study."""
    parser = argparse.ArgumentParser(description="What a pack is worth on test files.")
    parser.add_argument("paths", nargs="+", type=Path)
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--divisions", type=int, default=8)
    parser.add_argument("--of-one-kind", action="store_true")
    options = parser.parse_args()
    for path, labels in zip(options.paths[::2], options.paths[1::2], strict=True):
        scored = read_scored(path, labels)
        number = len(scored.test.scores)
        size = options.trials if number >= 2 * options.trials else -(-number // 2)
        rng = np.random.default_rng(0)
        values, members, held = [], [], []
        for seed in range(options.draws):
            files = of_one_kind(scored, rng) if options.of_one_kind else scored
            study = drawn(files, rng.choice(number, size, replace=False))
            packs = packs_of(study, seed)
            test = study.test
            values.append({n: auc(test.targets, p.scores(test)).value for n, p in packs.items()})
            members.append({n: len(p.members) for n, p in packs.items()})
            if options.divisions:
                held.append(coverage(study, options.divisions, seed))
        title = f"{path.name}: {number} trainings, {options.draws} studies of {size}"
        report(
            title,
            pd.DataFrame(values),
            dict(zip(members[0], pd.DataFrame(members).mean(), strict=True)),
        )
        if held:
            covers, off, covers_gain, gain, promoted = np.mean(held, axis=0)
            print(
                f"\nThe interval of the pack holds its test AUC in {covers:.3f} of them; its value "
                f"is off by {off:+.4f}. That of the gain holds the test gain in {covers_gain:.3f}. "
                f"Expected gain {gain:+.4f}; promoted in {promoted:.2f}."
            )


if __name__ == "__main__":
    main()
