"""What is said of a promoted soup: what it is, what its value is worth, what it costs."""

from workbench.selection.champion import Champion, ends_of


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
    return (
        f"{title} is promoted, named by hand: one model, whose weights are the mean of theirs.",
        f"It had {metric} {value:.3f}{within} on {champion.objective.place}. {champion.why}",
        f"It costs what one of its trials costs: {size} of {max_params / 1e6:.0f}M allowed.",
    )


def worth_of_soup(soup_size: int, num_fitting: int, place: str, *, is_greedy: bool) -> str:
    """Return in a sentence how far the choice of a soup's trials flatters its value.

    Args:
        soup_size: Its trials.
        num_fitting: The complete trials of the study that could be in it.
        place: What the objective is measured on, for a person.
        is_greedy: Whether they were chosen one after the other by the value of the mean.
    """
    which = f"{soup_size} of {num_fitting} trials that can be averaged"
    if is_greedy:
        return (
            f"Its {which} were chosen by the value of their mean on {place}, which flatters that: "
            "expect less on new data. No interval allows for that choice."
        )
    if soup_size < num_fitting:
        return (
            f"It averages {which}: as far as these were picked by their values on {place}, expect "
            "less on new data. No interval allows for that choice."
        )
    return (
        f"All {num_fitting} trials that can be averaged are in it, so none was chosen by its value "
        f"on {place}: what flatters is the choice of each trial's epoch and of the soup itself."
    )
