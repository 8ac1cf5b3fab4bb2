"""Which constraints of its study an exported model breaks, whatever was known at its promotion."""

from workbench.selection.champion import Champion
from workbench.selection.leaderboard import broken_told
from workbench.selection.pack_costs import of_no_scores
from workbench.study.folder import StudyFolder
from workbench.study.refits import RefitRecord
from workbench.trial.constraints import broken, constrained_values


def broken_constraints(
    folder: StudyFolder, champion: Champion, refit: RefitRecord | None
) -> list[str]:
    """Return in sentences which constraints of its study a champion and its refit break.

    Whatever the champion is, and whatever was known when it was promoted. A refit is measured by
    nothing, so that its size and its time alone can break one.
    """
    limits = folder.experiment().constraints
    counts = (champion.params_thop, champion.params_true)
    models = [(champion.recipe, limits, "It")]
    if refit:
        models.append((refit.recipe, of_no_scores(limits), "The refit"))
    told = []
    for uid, bounds, what in models:
        if result := folder.model(uid).kept_result():
            breaks = broken(bounds, constrained_values(result, params=counts))
            told.append(broken_told(breaks, by=what))
    return [one for one in told if one]
