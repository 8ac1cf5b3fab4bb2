"""Clusters of the fakes of `val`: which of them look alike to a network that is not trained yet.

Where no column says what made a fake, this stands in for it, as far as what a generator leaves
behind shows in such features. Otherwise they are clusters of what the files show, and a model that
does well on all of them leans on no one kind of picture. The labels of `val` say which files are
fakes; those of `test` are never read.
"""

import time
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import Field

from workbench.data.prepare import Prepared
from workbench.files import write_json
from workbench.media.views import AnyView
from workbench.rules.rulebook import Rulebook
from workbench.scoring.slices import CLUSTER, LEAST_OF_CLASS
from workbench.screening.probe import Asked, FeatureRows, Where, val_features
from workbench.screening.probing import LIMIT_S, ask, asked_of, candidates_of, child_process
from workbench.space.space import Space
from workbench.space.weights_finder import WeightsFinder
from workbench.validation import read_record
from workbench.values import Frozen

FILE = "clusters.json"
"""In the study's folder."""

_STARTS = 10
_SEED = 0


class Clusters(Frozen):
    """The clusters that were found, or why there are none."""

    numbers: dict[str, int] = Field(default_factory=dict)
    """The number of each fake's cluster, from 1 on, the largest first; by the file's name."""

    views: tuple[str, ...] = ()
    backbone: str = ""
    """Whose features they are of; empty for vector views, whose values are the features."""

    weights: str = ""
    seconds: float = 0.0
    reason: str = ""
    """Why there are none; a sentence."""


def find_clusters(
    space: Space,
    views: Mapping[str, AnyView],
    prepared: Prepared,
    folder: Path,
    *,
    num_clusters: int,
    rulebook: Rulebook,
    finder: WeightsFinder,
    where: Where,
    limit_s: float = LIMIT_S,
) -> Clusters:
    """Return the clusters of a study: those in its folder, or new ones that are put there.

    The features are those of the space's first backbone with weights, and of the most views that it
    reads together. What the rulebook refuses is not used. There are fewer than `num_clusters` where
    one would be too small for a slice. The folder has the prepared data.
    """
    if (folder / FILE).exists():
        remedy = "Remove it: the next search makes it anew."
        return read_record(Clusters, folder / FILE, remedy=remedy)
    started = time.monotonic()
    asked, found = _network(space, views, folder, rulebook, finder)
    if asked:
        with child_process() as child:
            features = ask(child, limit_s, val_features, asked, where)
        if isinstance(features, str):
            found = found.model_copy(update={"reason": f"No clusters: {features}."})
        else:
            found = found.model_copy(update=_numbered(features, prepared, num_clusters))
    found = found.model_copy(update={"seconds": time.monotonic() - started})
    write_json(folder / FILE, found.model_dump(mode="json"))
    return found


def with_clusters(prepared: Prepared, clusters: Clusters) -> Prepared:
    """Return the data with a column of the fakes' clusters."""
    table = prepared.table
    of_val = table["split"] == "val"
    numbers = table["name"].map(clusters.numbers).where(of_val).fillna(0).astype("int16")
    return replace(prepared, table=table.assign(**{CLUSTER: numbers}))


def describe_clusters(clusters: Clusters) -> str:
    """Return in a sentence what was found."""
    if clusters.reason:
        return clusters.reason
    sizes = np.bincount(list(clusters.numbers.values()))[1:]
    by = f"{clusters.backbone}, {clusters.weights}" if clusters.backbone else "their values"
    return (
        f"clusters: the fakes of val in {len(sizes)} ({', '.join(map(str, sizes))} files) by "
        f"{'+'.join(clusters.views)} ({by})."
    )


def cluster_fakes(features: FeatureRows, num_clusters: int, *, least: int) -> npt.NDArray[np.int64]:
    """Return the number of each row's cluster, from 1 on, the largest first; (rows,).

    By spherical k-means (Dhillon and Modha 2001) of standardised features, the best of ten starts:
    it looks at directions alone, so that a few odd files far out are no cluster. Where one would
    have fewer than `least` rows there is one cluster less, and so on; all are 0 where there are not
    even two.
    """
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    spread = features.std(axis=0)
    spread[spread < 1e-6] = 1  # a feature that never moves says nothing
    standard = (features - features.mean(axis=0)) / spread
    lengths = np.linalg.norm(standard, axis=1, keepdims=True)
    directions = standard / np.maximum(lengths, 1e-6)
    for number in range(min(num_clusters, len(features) // least), 1, -1):
        model = KMeans(number, n_init=_STARTS, random_state=_SEED)
        # One thread: the order of sums must not move a row that lies between two clusters.
        with threadpool_limits(1), warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # of fewer distinct rows
            labels = model.fit_predict(directions)
        sizes = np.bincount(labels, minlength=number)
        if sizes.min() >= least:
            first = [int(np.argmax(labels == label)) for label in range(number)]
            order = sorted(range(number), key=lambda label: (-sizes[label], first[label]))
            return np.array([order.index(label) + 1 for label in labels], np.int64)
    return np.zeros(len(features), np.int64)


def _numbered(features: FeatureRows, prepared: Prepared, num_clusters: int) -> dict[str, object]:
    rows = prepared.rows("val")
    fake = rows["target"].to_numpy() == 1
    numbers = cluster_fakes(features[fake], num_clusters, least=LEAST_OF_CLASS)
    if not numbers.any():
        return {"reason": f"No clusters: there are no two of {LEAST_OF_CLASS} fakes or more."}
    return {"numbers": dict(zip(rows["name"][fake], numbers.tolist(), strict=True))}


def _network(
    space: Space,
    views: Mapping[str, AnyView],
    folder: Path,
    rulebook: Rulebook,
    finder: WeightsFinder,
) -> tuple[tuple[Asked, ...], Clusters]:
    """Return what is to be computed, and what it is of; nothing, and why, without weights."""
    able = [each for each in candidates_of(space, views, rulebook, finder) if not each[0].reason]
    if able:
        one, weights = max(able, key=lambda each: len(each[0].views))
        asked = asked_of(one, weights, views, folder)
        return asked, Clusters(views=one.views, backbone=one.backbone, weights=one.weights)
    vectors = tuple(name for name, view in views.items() if view.modality == "vector")
    if vectors:
        sides = [draft.image_px for draft in space.corners()]
        return tuple(Asked(folder, name, min(sides)) for name in vectors), Clusters(views=vectors)
    why = "no backbone of the search space has weights here, and random ones tell nothing"
    return (), Clusters(reason=f"No clusters: {why}.")
