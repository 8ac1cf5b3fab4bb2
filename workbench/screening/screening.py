"""The screening: backbones ranked by what their features tell before any of them is trained.

Each candidate (a backbone with its weights, and a set of views) is judged by a linear probe of its
pooled features, see `screening.probe`. The rank is the mean of the two AUCs of a probe that learns
from `train` and is asked of `val`, and of one the other way round. That reads the labels of `val`,
as each trial will, but chooses among a few backbones where trials choose among far more; and `val`
alone is mostly too small to rank by. The labels of `test` are never read.

Where each view has backbones of its own to choose from, they are judged on that view alone, and it
is there that the best go on.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from workbench.parts.leaderboard import family_of
from workbench.parts.per_view import for_each, in_short, label_of
from workbench.parts.weights import Mode
from workbench.space.backbone_options import is_by_view
from workbench.space.space import SampledConfig, Space
from workbench.tables import cut, duration, text_table
from workbench.validation import read_record
from workbench.values import Frozen

FILE = "screening.json"
"""In the study's folder."""

KEPT_BACKBONES = 3
"""One backbone in so many goes on."""

LEAST_KEPT = 2
OF_ONE_FAMILY = 2


class Candidate(Frozen):
    """A backbone and a set of views, and what the probe said of them."""

    backbone: str
    views: tuple[str, ...]
    pretrained: Mode = "auto"
    """The space's way to its weights."""

    weights: str = ""
    image_px: int
    """The smallest side that can be drawn and that it takes."""

    legal: bool = True
    """Whether the rulebook allows it."""

    auc: float | None = None
    """Mean of two, see above; None if it was not judged."""

    standard_error: float | None = None
    val_auc: float | None = None
    num_features: int | None = None
    seconds: float = 0.0
    """Of its features, each view's counted with every set that it is in, and of its probe."""

    reason: str = ""
    """Why it was not judged."""


class Screening(Frozen):
    """What was found, and which backbones go on."""

    candidates: tuple[Candidate, ...]
    """Best first; after them those that were not judged."""

    kept: tuple[str, ...] | dict[str, tuple[str, ...]]
    """The backbones that go on, best first; all of them where nothing could be judged. By view,
    where each has its own to choose from."""

    seconds: float
    """What all of it took."""

    @property
    def best(self) -> dict[str, Candidate]:
        """The best candidate of each backbone that was judged, best first; by `name_of`."""
        found: dict[str, Candidate] = {}
        for candidate in self.candidates:
            if candidate.auc is not None:
                found.setdefault(self.name_of(candidate), candidate)
        return found

    def by_view(self) -> "dict[str, Screening]":
        """Return what it says of each view that has its own; or itself under ""."""
        if not isinstance(self.kept, dict):
            return {"": self}
        return {
            view: Screening(
                candidates=tuple(one for one in self.candidates if one.views == (view,)),
                kept={view: names},
                seconds=self.seconds,
            )
            for view, names in self.kept.items()
        }

    def name_of(self, candidate: Candidate) -> str:
        """Return the backbone, with its view where each view has its own."""
        if isinstance(self.kept, dict):
            return label_of({candidate.views[0]: candidate.backbone})
        return candidate.backbone

    def goes_on(self, candidate: Candidate) -> bool:
        """Return whether the backbone of a candidate goes on."""
        view = candidate.views[0]
        return candidate.backbone in for_each(self.kept, [view])[view]

    @property
    def num_kept(self) -> int:
        """How many backbones go on, in all views."""
        return sum(map(len, self.kept.values() if isinstance(self.kept, dict) else [self.kept]))


def read_screening(folder: Path) -> Screening | None:
    """Return the screening of the study in `folder`, if it had one."""
    file = folder / FILE
    if not file.exists():
        return None
    return read_record(Screening, file, remedy="Remove it: the next search screens anew.")


def narrowed(space: Space, screening: Screening) -> Space:
    """Return the space with the backbones that go on alone; all else stays."""
    node, kept = space.tree["backbone"], screening.kept
    if isinstance(kept, dict):
        views = kept.keys() & node.keys() if is_by_view(node) else set()
        backbone = node | {view: _some(node[view], kept[view]) for view in views} if views else node
    elif is_by_view(node):
        backbone = node  # one method has a backbone for each view, another one for all
    else:
        backbone = _some(node, kept)
    return space.model_copy(update={"tree": {**space.tree, "backbone": backbone}})


def first_drafts(space: Space, screening: Screening) -> list[SampledConfig]:
    """Return a draft of each judged backbone that goes on, best first: in the middle of the space.

    Of its views, the best set; of ranges the middle, of choices the first option. Where each view
    has its own backbones, of the largest set of views: the best of each, the second of each, ...
    """
    middle = space.draw(_Middle())
    best = screening.best
    if isinstance(screening.kept, dict):
        return _first_of_views(space, screening, middle) if best else []
    drafts = [
        middle.model_copy(
            update={
                "backbone": backbone,
                "views": best[backbone].views,
                "pretrained": best[backbone].pretrained,
            }
        )
        for backbone in screening.kept
        if backbone in best
    ]
    # The best views may be those of another method.
    return [draft for draft in drafts if space.params_of(draft) is not None]


def _first_of_views(
    space: Space, screening: Screening, middle: SampledConfig
) -> list[SampledConfig]:
    # Most of the views that were screened; of equals, the most views.
    views = max(
        space.view_sets(), key=lambda names: (len({*names} & {*screening.kept}), len(names))
    )
    ranked = list(screening.best.values())
    going = {
        view: [one.backbone for one in ranked if one.views == (view,) and screening.goes_on(one)]
        or names
        for view, names in space.backbones_by_view().items()
        if view in views
    }
    most = max(len(names) for view, names in going.items() if view in screening.kept)
    return [
        middle.model_copy(
            update={
                "backbone": in_short(
                    {view: names[min(place, len(names) - 1)] for view, names in going.items()}
                ),
                "views": views,
                "pretrained": ranked[0].pretrained,
            }
        )
        for place in range(most)
    ]


def rank_correlation(screening: Screening, finals: Mapping[str, float]) -> float | None:
    """Return Spearman's correlation of the probe with what training gave in the end.

    Args:
        screening: The probe's word.
        finals: Of each backbone that was trained, its best value, higher being better.

    Returns:
        None for fewer than three backbones, or where either side holds them all equal.
    """
    from scipy.stats import spearmanr

    both = [(best.auc, finals[name]) for name, best in screening.best.items() if name in finals]
    if len(both) < 3 or min(len(set(side)) for side in zip(*both, strict=True)) < 2:
        return None
    return float(spearmanr(*zip(*both, strict=True)).statistic)


def describe_screening(screening: Screening) -> list[str]:
    """Return the screening as lines for a terminal of 80 columns."""
    judged = [one for one in screening.candidates if one.auc is not None]
    lines = []
    if judged:
        rows = [
            [
                cut(one.backbone, 32),
                cut("+".join(one.views), 16),
                f"{one.auc:.3f}",
                f"{one.standard_error:.3f}",
                f"{one.val_auc:.3f}",
                "yes" if screening.goes_on(one) else "no",
            ]
            for one in judged
        ]
        header = ["backbone", "views", "AUC", "error", "on val", "kept"]
        lines += text_table(header, rows).splitlines()
    for reason, names in _reasons(screening.candidates).items():
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        lines.append(cut(f"not judged: {names[0]}{more}: {reason}", 80))
    return [*lines, summary(screening)]


def summary(screening: Screening) -> str:
    """Return what the screening came to, in a sentence."""
    all_of_them = {screening.name_of(one) for one in screening.candidates}
    took = f"The screening took {duration(screening.seconds)}"
    if not screening.best:
        return (
            f"{took} and cannot help: no candidate could be judged. All backbones stay in the "
            "search."
        )
    if not any(_is_sure(one) for one in screening.candidates):
        return f"{took}: no probe is surely better than chance. All backbones stay in the search."
    kept = f"{screening.num_kept} of {len(all_of_them)} backbones go on"
    return f"{took}: {kept}."


def choose_backbones(ranked: Sequence[Candidate], backbones: Sequence[str]) -> tuple[str, ...]:
    """Return which backbones go on: of those that were judged the best third, of a few families.

    Those that were not judged go on too, unless three or more that were do: so few say little
    about the rest. What the rulebook refuses does not. Where even the best probe is within two
    standard errors of chance, all go on.
    """
    best = list(dict.fromkeys(one.backbone for one in ranked if one.auc is not None))
    if not any(_is_sure(one) for one in ranked):
        return tuple(backbones)
    size = max(LEAST_KEPT, -(-len(best) // KEPT_BACKBONES))
    families = Counter[str]()
    chosen: list[str] = []
    for name in best:
        if len(chosen) < size and families[family_of(name)] < OF_ONE_FAMILY:
            families[family_of(name)] += 1
            chosen.append(name)
    chosen += [name for name in best if name not in chosen][: size - len(chosen)]
    kept = sorted(chosen, key=best.index)
    if len(kept) < 3:
        legal = {one.backbone for one in ranked if one.legal}
        kept += [name for name in backbones if name not in best and name in legal]
    return tuple(kept)


def _is_sure(one: Candidate) -> bool:
    return one.auc is not None and one.auc - 2 * (one.standard_error or 0.0) > 0.5


def _only(node: Any, kept: Collection[str]) -> Any:
    """Return a choice of backbones with those of `kept` alone; a plain one as it is."""
    if not isinstance(node, dict):
        return node
    options = [_only(option, kept) for option in node["choice"]]
    left = [o for o in options if (o["choice"] if isinstance(o, dict) else str(o) in kept)]
    return {**node, "choice": left}


def _some(node: Any, kept: Collection[str]) -> Any:
    """Return what `_only` does; the node itself where nothing would be left."""
    only = _only(node, kept)
    return node if isinstance(only, dict) and not only["choice"] else only


class _Middle:
    """Draws the first option of a choice and the middle of a range, of its powers if it has any."""

    def suggest_categorical(self, name: str, choices: list[Any]) -> Any:
        return choices[0]

    def suggest_float(self, name: str, low: float, high: float, *, log: bool) -> float:
        middle = (low * high) ** 0.5 if log else (low + high) / 2
        return min(max(middle, low), high)

    def suggest_int(self, name: str, low: int, high: int, *, log: bool) -> int:
        return round(self.suggest_float(name, low, high, log=log))


def _reasons(candidates: Sequence[Candidate]) -> dict[str, list[str]]:
    """Return the backbones that were not judged, by the reason."""
    found: dict[str, list[str]] = {}
    for one in candidates:
        if one.reason and one.backbone not in found.setdefault(one.reason, []):
            found[one.reason].append(one.backbone)
    return found
