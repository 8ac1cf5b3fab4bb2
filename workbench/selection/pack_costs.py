"""What trials cost in a pack, and which constraints they break there, each and as a whole."""

import math
from collections.abc import Sequence

import pandas as pd

from workbench.rules.rulebook import Rulebook
from workbench.selection.in_parts import NOT_OF_SCORES
from workbench.selection.leaderboard import complete_trials
from workbench.selection.pack_choice import ChosenPack
from workbench.selection.pack_limits import MemberCost, PackLimits
from workbench.selection.packing import Ingredient, join_tables
from workbench.space.experiment import Experiment
from workbench.study.records import TrialRow
from workbench.trial.constraints import Constraints, broken, constrained_values
from workbench.trial.metrics import objective_metrics


def packed_from(rows: Sequence[TrialRow], constraints: Constraints) -> list[TrialRow]:
    """Return the complete trials of a study that a pack is chosen among; see `pack_proposal`."""
    fixed = of_no_scores(constraints)
    return [row for row in complete_trials(rows) if not broken_in(fixed, row)]


def of_no_scores(constraints: Constraints) -> Constraints:
    """Return the constraints that a trial keeps or breaks whatever the files are."""
    return {name: bound for name, bound in constraints.items() if name in NOT_OF_SCORES}


def broken_in(constraints: Constraints, row: TrialRow) -> tuple[str, ...]:
    """Return which of some constraints a trial breaks, each in words."""
    values = constrained_values(row, params=(row.params_thop, row.params_true))
    return broken(constraints, values)


def cost_of(one: Ingredient, experiment: Experiment) -> MemberCost:
    """Return what a trial costs as a member."""
    row = one.row
    return MemberCost(
        params=member_params(row, experiment),
        ms_per_file=row.ms_per_file,
        has_weights=one.folder.trial(row.recipe).weights.exists(),
        is_trial=one.soup is None,
        keeps_constraints=not row.breaks and not broken_in(experiment.constraints, row),
    )


def member_params(row: TrialRow, experiment: Experiment) -> int:
    """Return the parameters of a trial as a choice counts them: a constraint goes by the most."""
    return params_of(row, None if "params" in experiment.constraints else experiment.rulebook)


def params_of(row: TrialRow, rulebook: Rulebook | None) -> int:
    """Return the parameters of a trial as the rulebook counts them; without one, the most."""
    known = [count for count in (row.params_thop, row.params_true) if count is not None]
    counted = {"thop": row.params_thop, "true": row.params_true}
    asked = counted.get(rulebook.counter) if rulebook else None
    return asked if asked is not None else max(known, default=0)


def limits_of(
    asked_params: int | None, asked_ms: float | None, members: int, experiment: Experiment
) -> PackLimits:
    """Return what the members may have together: what was asked, and what the whole may have."""
    params, ms = (
        experiment.constraints[name].at_most if name in experiment.constraints else None
        for name in ("params", "ms_per_file")
    )
    most = [experiment.rulebook.max_params, asked_params, params]
    times = [time for time in (asked_ms, ms) if time is not None]
    return PackLimits(
        params=int(min(one for one in most if one is not None)) - _of_joint(members),
        ms_per_file=min(times, default=None),
        members=members,
    )


def _of_joint(num_members: int) -> int:
    return num_members + 1


def broken_as_whole(
    pack: ChosenPack,
    among: Sequence[Ingredient],
    tables: Sequence[pd.DataFrame],
    experiment: Experiment,
) -> tuple[str, ...]:
    """Return the constraints that a chosen pack breaks as a whole, each in words."""
    members = [among[place] for place in pack.members]
    times = [one.row.ms_per_file for one in members]
    scores = join_tables(
        pack.joint, [tables[place] for place in pack.members], [one.title for one in members]
    )
    scored = {
        str(name): (part["target"], part["score"])
        for name, part in scores.groupby("slice", sort=False)
    }
    values = {str(k): v for k, v in objective_metrics(experiment.objective, scored).items()}
    values["params"] = sum(params_of(one.row, None) for one in members) + _of_joint(len(members))
    if None not in times:
        values["ms_per_file"] = math.fsum(time or 0 for time in times)
    return broken(experiment.constraints, values)
