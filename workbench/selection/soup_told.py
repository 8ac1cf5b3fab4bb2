"""What is said of a soup of trials: for a terminal, and as JSON."""

from collections.abc import Sequence

from workbench.selection.leaderboard import breaks_told, objective_of
from workbench.selection.soup import MadeSoup
from workbench.study.soups import Ingredient
from workbench.trial.delong import Z95


def describe_soup(made: MadeSoup) -> str:
    """Return a soup in a few lines for a terminal."""
    metric, best = made.objective.metric, made.tried[0]
    lost = ""
    if num := made.num_without_weights:
        which = f"{num} more trials fit" if num > 1 else "One more trial fits"
        lost = f"{which}, and {'are' if num > 1 else 'is'} left out: the weights are gone."
    if made.soup is None or made.row is None:
        said = (
            f"No soup: added to trial {best.number}, the best ({metric} {best.objective:.5f} on "
            f"{made.objective.place}), each of the other {len(made.tried) - 1} makes it worse."
        )
        return f"{said}\n{lost}".strip()
    soup = made.soup
    known = "" if made.is_new else "It was there already. "
    lines = [
        f"Soup {soup.recipe}, the mean of trials {', '.join(map(str, soup.numbers))}: {metric} "
        f"{objective_of(made.row):.5f} on {made.objective.place}.",
        f"{known}The best of them, trial {best.number}, has {best.objective:.5f}.",
    ]
    if broken := breaks_told(made.row):
        lines.append(broken)
    if soup.left_out:
        lines.append(f"Left out, for making it worse: {', '.join(_tried(soup.left_out))}.")
    if lost:
        lines.append(lost)
    if made.gain and made.gain.standard_error is not None:
        way = "ahead of it" if made.gain.value >= 0 else "behind it"
        spread = Z95 * made.gain.standard_error
        lines.append(
            f"The soup is {abs(made.gain.value):.5f} ± {spread:.5f} {way} (95%, paired DeLong)."
        )
    if soup.chosen == "greedily":
        lines.append("It was chosen on these same files, which flatters it a little.")
    return "\n".join(lines)


def is_clearly_behind(made: MadeSoup) -> bool:
    """Return whether a soup is worse than its best trial by more than chance explains."""
    gain = made.gain
    if gain is None or gain.standard_error is None:
        return False
    return gain.value + Z95 * gain.standard_error < 0


def _tried(left_out: Sequence[Ingredient]) -> list[str]:
    return [
        f"trial {each.number}" + (f" ({each.with_it:.5f})" if each.with_it is not None else "")
        for each in left_out
    ]


def soup_as_json(made: MadeSoup) -> dict[str, object]:
    """Return a soup as a JSON object; `soup` is null where there is none."""
    soup, row = made.soup, made.row
    return {
        "soup": soup.recipe if soup else None,
        "trials": soup.numbers if soup else [made.tried[0].number],
        "objective": row.objective if row else made.tried[0].objective,
        "metrics": row.metrics if row else None,
        "slices": row.by_slice if row else None,
        "breaks": list(row.breaks) if row else [],
        "gain": made.gain.value if made.gain else None,
        "gain_standard_error": made.gain.standard_error if made.gain else None,
        "is_new": made.is_new,
        "num_without_weights": made.num_without_weights,
        "tried": [each.model_dump() for each in made.tried],
    }
