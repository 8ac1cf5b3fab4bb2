"""The half of `val` that looks most like the test files: what is measured there is nearer to them.

A classifier learns to tell the files of `val` from those of the test by the features of a network
that is not trained yet; the half of each class that it takes for test files is a slice. It is the
importance weighting of validation (Sugiyama et al. 2007, JMLR 8) with weights of 0 and 1: weights
by odds leave few files that count where the two are easily told apart. Labels of test files are
never read, but the files are looked at to choose a model, which some rules forbid: only where
`rulebook.test_media` is `select`.
"""

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from workbench.data.prepare import Prepared
from workbench.files import write_json
from workbench.media.views import AnyView
from workbench.rules.rulebook import Rulebook
from workbench.scoring.slices import LEAST_OF_CLASS, LIKE_TEST, NEAREST
from workbench.screening.feature_network import NO_NETWORK, feature_network
from workbench.screening.probe import ValAndTest, Where, val_and_test_features
from workbench.screening.probing import LIMIT_S, ask, child_process
from workbench.space.space import Space
from workbench.space.weights_finder import WeightsFinder
from workbench.trial.delong import auc
from workbench.validation import read_record
from workbench.values import Frozen

FILE = "like-test.json"
"""In the study's folder."""

_FOLDS = 5
_STRENGTH = 0.01
"""Inverse strength of the penalty (`C`) on standardised features, of which there are many."""


class Likeness(Frozen):
    """The half of `val` that looks most like the test files, or why there is none."""

    names: tuple[str, ...] = ()
    """Of its files."""

    told_apart: float | None = None
    """How well files of `val` and of the test are told apart: the AUC, each file by a classifier
    that did not learn from it. 0.5: they look alike."""

    views: tuple[str, ...] = ()
    backbone: str = ""
    """Whose features they are; empty for vector views, whose values are the features."""

    weights: str = ""
    seconds: float = 0.0
    reason: str = ""
    """Why there is none; a sentence."""


def find_likeness(
    space: Space,
    views: Mapping[str, AnyView],
    prepared: Prepared,
    folder: Path,
    *,
    rulebook: Rulebook,
    finder: WeightsFinder,
    where: Where,
    limit_s: float = LIMIT_S,
) -> Likeness:
    """Return the half of `val` most like the test files: as in the study's folder, or found anew.

    Args:
        space: Of the study.
        views: Those that the space may read.
        prepared: The data.
        folder: The study's, with the prepared data.
        rulebook: What it refuses is not used.
        finder: Of the weights.
        where: How and where features are computed.
        limit_s: Time that it may take.
    """
    if (folder / FILE).exists():
        remedy = "Remove it: the next search makes it anew."
        return read_record(Likeness, folder / FILE, remedy=remedy)
    started = time.monotonic()
    network = feature_network(space, views, folder, rulebook, finder)
    if not network.asked:
        what: dict[str, object] = {"reason": f"No {LIKE_TEST}: {NO_NETWORK}."}
    elif reason := _too_few(prepared):
        what = {"reason": reason}
    else:
        with child_process() as child:
            features = ask(child, limit_s, val_and_test_features, network.asked, where)
        if isinstance(features, str):
            what = {"reason": f"No {LIKE_TEST}: {features}."}
        else:
            what = _nearest(features, prepared)
    found = Likeness(
        views=network.views,
        backbone=network.backbone,
        weights=network.weights,
        seconds=time.monotonic() - started,
    ).model_copy(update=what)
    write_json(folder / FILE, found.model_dump(mode="json"))
    return found


def with_likeness(prepared: Prepared, likeness: Likeness) -> Prepared:
    """Return the data with a column that says which files of `val` are in the half."""
    table = prepared.table
    inside = (table["split"] == "val") & table["name"].isin(likeness.names)
    return replace(prepared, table=table.assign(**{NEAREST: inside}))


def describe_likeness(likeness: Likeness) -> str:
    """Return in a sentence what was found."""
    if likeness.reason:
        return likeness.reason
    by = f"{likeness.backbone}, {likeness.weights}" if likeness.backbone else "their values"
    return (
        f"{LIKE_TEST}: the {len(likeness.names)} files of val that look most like the test files, "
        f"by {'+'.join(likeness.views)} ({by}); val and test are told apart with an AUC of "
        f"{likeness.told_apart:.2f} (0.5: not at all)."
    )


def seen_as_test(features: ValAndTest) -> tuple[npt.NDArray[np.float64], float]:
    """Return how much each file of `val` looks like a test file, and how well they are told apart.

    Each file is asked of a logistic regression of standardised features that learned from the
    other folds.

    Returns:
        The log-odds of being a test file, (val files,), and the AUC over all files.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    rows = np.concatenate(features).astype(np.float64)
    is_test = np.repeat([0, 1], [len(part) for part in features])
    model = make_pipeline(
        StandardScaler(), LogisticRegression(C=_STRENGTH, class_weight="balanced", max_iter=1000)
    )
    folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=0)
    # One thread: the order of sums must not move a file that lies on the border.
    with threadpool_limits(1):
        odds = cross_val_predict(model, rows, is_test, cv=folds, method="decision_function")
    return odds[: len(features.val)], auc(is_test, odds).value


def _too_few(prepared: Prepared) -> str:
    classes = prepared.rows("val")["target"].value_counts()
    if len(prepared.rows("test")) < LEAST_OF_CLASS:
        return f"No {LIKE_TEST}: there are fewer than {LEAST_OF_CLASS} test files."
    if len(classes) < 2 or classes.min() < 2 * LEAST_OF_CLASS:
        least = f"{2 * LEAST_OF_CLASS} real and {2 * LEAST_OF_CLASS} fake files"
        return f"No {LIKE_TEST}: val has no {least}."
    return ""


def _nearest(features: ValAndTest, prepared: Prepared) -> dict[str, object]:
    odds, told_apart = seen_as_test(features)
    rows = prepared.rows("val")
    targets, names = rows["target"].to_numpy(), rows["name"].to_numpy()
    inside: list[str] = []
    for target in (0, 1):
        of_class = np.flatnonzero(targets == target)
        order = of_class[np.argsort(-odds[of_class], kind="stable")]
        inside += names[order[: (len(order) + 1) // 2]].tolist()
    return {"names": tuple(sorted(inside)), "told_apart": told_apart}
