"""The network whose features stand for what files look like, before anything is trained."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from workbench.media.declared import PICTURED
from workbench.media.views import AnyView
from workbench.rules.rulebook import Rulebook
from workbench.screening.probe import Asked
from workbench.screening.probing import candidates_of
from workbench.space.space import Space
from workbench.space.weights_finder import WeightsFinder


class FeatureNetwork(NamedTuple):
    """Whose features are looked at: a backbone's of some views, or the values of vector views."""

    asked: tuple[Asked, ...] = ()
    """What is to be computed; empty where no backbone has weights and no view is a vector."""

    views: tuple[str, ...] = ()
    backbone: str = ""
    """Empty for vector views."""

    weights: str = ""


NO_NETWORK = "no backbone of the search space has weights here, and random ones tell nothing"
"""Why there is none; a clause."""


def feature_network(
    space: Space,
    views: Mapping[str, AnyView],
    folder: Path,
    rulebook: Rulebook,
    finder: WeightsFinder,
) -> FeatureNetwork:
    """Return the space's first backbone with weights, reading the most views that it may.

    Args:
        space: Of the study.
        views: Those that the space may read.
        folder: The study's, with the prepared data.
        rulebook: What it refuses is not used.
        finder: Of the weights.
    """
    able = [each for each in candidates_of(space, views, rulebook, finder) if not each[0].reason]
    if able:
        one, weights = max(able, key=lambda each: len(each[0].views))
        asked = tuple(
            Asked(folder, name, one.image_px, one.backbone, weights)
            if views[name].modality in PICTURED
            else Asked(folder, name, one.image_px)
            for name in one.views
        )
        return FeatureNetwork(asked, one.views, one.backbone, one.weights)
    vectors = tuple(name for name, view in views.items() if view.modality not in PICTURED)
    sides = [draft.image_px for draft in space.corners()] if vectors else [0]
    return FeatureNetwork(tuple(Asked(folder, name, min(sides)) for name in vectors), vectors)
