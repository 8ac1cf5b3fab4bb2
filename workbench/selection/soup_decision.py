"""What is said of a promoted soup: what it is, what its value is worth, what it costs."""

from collections.abc import Sequence

from workbench.selection.champion import Champion, ends_of
from workbench.selection.leaderboard import num_pruned, stopped_told
from workbench.selection.soup import is_of_all, num_fitting, num_groups
from workbench.study.folder import StudyFolder
from workbench.study.records import TrialRow, count_paused
from workbench.study.soups import Soup


def decision_for_soup(champion: Champion, max_params: int) -> tuple[str, ...]:
    """Return the decision for a promoted soup: what it is, what to expect, what it costs.

    Args:
        champion: The soup.
        max_params: Parameters that the rulebook allows.
    """
    title = f"{champion.title[0].upper()}{champion.title[1:]}"
    metric = champion.objective.metric
    value, within = champion.value, ""
    if champion.standard_error is not None:
        low, high = ends_of(champion)
        within = f" ({low:.3f} to {high:.3f}, 95%)"
    known = [n for n in (champion.params_thop, champion.params_true) if n is not None]
    size = f"{max(known) / 1e6:.2f}M parameters" if known else "an unknown number of parameters"
    reached = f"It had {metric} {value:.3f}{within} on {champion.objective.place}."
    return (
        f"{title} is promoted, named by hand: one model, whose weights are the mean of theirs.",
        " ".join(filter(None, [reached, champion.unseen, champion.why])),
        f"It costs what one of its trials costs: {size} of {max_params / 1e6:.0f}M allowed.",
    )


def worth_of_soup(folder: StudyFolder, soup: Soup, rows: Sequence[TrialRow]) -> str:
    """Return in a sentence how far the choice of a soup's trials flatters its value.

    Args:
        folder: The study.
        soup: One of the study's.
        rows: The ended trials of the study.
    """
    place = folder.objective().place
    fitting = num_fitting(folder, soup, rows)
    stopped = stopped_told(num_pruned(rows), count_paused(folder))
    complete = "complete " if stopped else ""
    which = f"{len(soup.ingredients)} of {fitting} {complete}trials that can be averaged"
    if soup.chosen == "greedily":
        said = (
            f"Its {which} were chosen by the value of their mean on {place}, which flatters that: "
            "expect less on new data. No interval allows for that choice."
        )
    elif len(soup.ingredients) < fitting:
        said = (
            f"It averages {which}: as far as these were picked by their values on {place}, expect "
            "less on new data. No interval allows for that choice."
        )
    elif not is_of_all(folder, soup, rows):
        said = (
            f"It averages all {fitting} {complete}trials of its model and start, one of "
            f"{num_groups(folder, rows)} groups that can be averaged: as far as this one was "
            f"picked by values on {place}, expect less on new data. No interval allows for that "
            "choice."
        )
    else:
        said = (
            f"All {fitting} {complete}trials that can be averaged are in it, so none "
            f"{'of these ' if stopped else ''}was chosen by its value on {place}: what flatters is "
            "the choice of each trial's epoch and of the soup itself."
        )
    return f"{said} {stopped}".strip()
