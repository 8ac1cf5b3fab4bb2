"""The shortcut probe: can a cue that has nothing to do with faking tell the class alone?

Asked within the train split, by cross-validation: what a model can learn, it learns there, and
pooling splits would take a cue that tells the splits apart for one that tells the classes apart.
Whether val has the same flaw, so that its score would hide the harm, is told beside it.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from workbench.checks.cues import Family, make_cues
from workbench.checks.evidence import Separation, separation
from workbench.checks.findings import Finding, finding, listed, printable
from workbench.data.prepare import Prepared
from workbench.values import Frozen

SHORTCUT_AUC = 0.6
"""From this AUC on a cue is warned about, if chance would not do as well."""

FOLDS = 5
# A value's share of fakes is taken as if so many more files with the average share had it.
_PRIOR_FILES = 4
_MOST_NAMES, _MOST_NAMES_IN_SHORT = 20_000, 2_000
_LEAST_OF_A_CLASS = 2 * FOLDS

_REMEDIES: dict[Family, str] = {
    "encoding": "Encode the files of both classes in one way (codec, size, rates), or augment with "
    "random compression and rescaling, before any score is believed.",
    "length": "Train on stretches of one length, cut at random, so that a model cannot see how "
    "long a file is.",
    "loudness": "Normalise the loudness of every sound, or augment with a random gain.",
    "reading": "Find out why one class lacks it; drop those files or score them apart.",
    "name": "Rename the files at random, and keep names away from anything that is trained.",
    "order": "Shuffle the rows before any split is cut by position, and keep the order away from "
    "anything that is trained; a model that sees pixels and samples only is not harmed.",
}


class CueScore(Frozen):
    """How well a cue alone tells real from fake, each file by what others of its split say."""

    cue: str
    family: Family
    auc: float
    """Within train."""

    standard_error: float
    num_files: int
    is_shortcut: bool
    val_auc: float | None
    """Within val: where it is high too, the score on val does not show the harm."""


def score_cues(
    prepared: Prepared,
    facts: pd.DataFrame,
    files: pd.DataFrame,
    *,
    short: bool,
    in_class_folders: bool = False,
) -> list[CueScore]:
    """Return the score of every cue that varies in train, the best first.

    `files` are those that are there, in the order of the label files. Facts go by content. With
    `short`, fewer names are looked at. Where folders are the labels, there are no label files, and
    what counts of a name is what follows its folders.
    """
    if in_class_folders:
        files = files.assign(name=files["name"].str.rpartition("/")[2])
    train = _separations(prepared, facts, files[files["split"] == "train"], short=short)
    val = _separations(prepared, facts, files[files["split"] == "val"], short=short)
    scores = [
        CueScore(
            cue=printable(name),
            family=family,
            auc=found.auc,
            standard_error=found.standard_error,
            num_files=found.num_positive + found.num_negative,
            is_shortcut=found.auc > SHORTCUT_AUC and found.is_beyond_chance(len(train)),
            val_auc=val[name][1].auc if name in val else None,
        )
        for name, (family, found) in train.items()
        if not (in_class_folders and family == "order")
    ]
    return sorted(scores, key=lambda score: -score.auc)


def shortcut_findings(scores: Sequence[CueScore]) -> Iterator[Finding]:
    """Yield one finding for each family of cues with a shortcut."""
    for family, remedy in _REMEDIES.items():
        some = [score for score in scores if score.family == family and score.is_shortcut]
        if some:
            said = [f"{score.cue} (AUC {score.auc:.3f}{_in_val(score)})" for score in some]
            yield finding(
                f"shortcut_{family}",
                "warning",
                f"The class can be told without seeing or hearing a file: by {listed(said)}, where "
                f"0.5 is chance and {SHORTCUT_AUC} the limit.",
                remedy,
            )


def _in_val(score: CueScore) -> str:
    return "" if score.val_auc is None else f" in train, {score.val_auc:.3f} in val"


def _separations(
    prepared: Prepared, facts: pd.DataFrame, rows: pd.DataFrame, *, short: bool
) -> dict[str, tuple[Family, Separation]]:
    """Return how well each cue tells the class among the files of one split."""
    targets = rows["target"].to_numpy(np.int64)
    if np.bincount(targets, minlength=2).min() < _LEAST_OF_A_CLASS:
        return {}
    asked: dict[str, tuple[Family, Separation]] = {}
    for cue in make_cues(prepared, facts, rows):
        found = separation(targets, cross_validated_rates(cue.codes, targets))
        if found:
            asked[cue.name] = (cue.family, found)
    found = _of_names(rows, targets, _MOST_NAMES_IN_SHORT if short else _MOST_NAMES)
    if found:
        asked["letters of the name"] = ("name", found)
    return asked


def cross_validated_rates(
    codes: npt.NDArray[np.int64], targets: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Return, for each file, the share of fakes among files of other folds with its value."""
    from sklearn.model_selection import StratifiedKFold

    rates = np.empty(len(codes))
    values = codes.max() + 1
    for learn, ask in StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(codes, targets):
        files = np.bincount(codes[learn], minlength=values)
        fakes = np.bincount(codes[learn], targets[learn], minlength=values)
        share = targets[learn].mean()
        rates[ask] = ((fakes + _PRIOR_FILES * share) / (files + _PRIOR_FILES))[codes[ask]]
    return rates


def _of_names(rows: pd.DataFrame, targets: npt.NDArray[np.int64], most: int) -> Separation | None:
    """Return how well a linear model of one to three letters in a row tells the class."""
    from sklearn.feature_extraction.text import HashingVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from threadpoolctl import threadpool_limits

    chosen = np.random.default_rng(0).permutation(len(rows))[:most]
    # The marks at both ends make a beginning another letter group than the same inside.
    names = [f"\x02{name}\x03" for name in rows["name"].to_numpy()[chosen]]
    if np.bincount(targets[chosen], minlength=2).min() < FOLDS:
        return None
    letters = HashingVectorizer(analyzer="char", ngram_range=(1, 3), n_features=1 << 12)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    model = LogisticRegression(C=10, max_iter=200)
    # The models are small: threads would wait for each other, and sum in another order each time.
    with threadpool_limits(1):
        scores = cross_val_predict(
            model,
            letters.transform(names),
            targets[chosen],
            cv=folds,
            method="decision_function",
        )
    return separation(targets[chosen], scores)
