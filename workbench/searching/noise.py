"""Whether more trials are worth it: what they are expected to gain, against the noise.

The noise is the standard error of the best trial's objective: what another validation set of the
same size would change.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property

from workbench.console import say
from workbench.errors import DamagedFileError
from workbench.searching.study_store import StudyStore
from workbench.study.file_groups import groups_of_files, groups_of_scores
from workbench.study.folder import StudyFolder
from workbench.tables import counted
from workbench.trial.delong import Estimate, auc
from workbench.trial.recipe import Objective

LEAST_COMPLETE = 9
"""Complete trials before anything is expected: the tail is measured by a third of them."""


class NoiseWatch:
    """Says it, once, when noise moves the best trial by more than the rest of a search may gain.

    Trials that break a constraint are not looked at: none of them would be promoted.
    With `stops`, no new trial is to begin then.
    """

    def __init__(self, folder: StudyFolder, store: StudyStore, *, stops: bool) -> None:
        self._folder, self._store, self._stops = folder, store, stops
        self._is_said = False

    @cached_property
    def _groups(self) -> dict[str, str]:
        return groups_of_files(self._folder)  # asked for with every trial, and always the same

    def look(self, *, to_come: int) -> str:
        """Return why no new trial is to begin, if none is; of `to_come` that still would."""
        if self._is_said:
            return ""
        try:
            kept = [ended for ended in self._store.complete() if ended.keeps]
            found = noise(
                self._folder,
                {ended.recipe: ended.objective for ended in kept},
                self._store.objective,
                num_drawn=self._store.num_ended() + len(self._store.paused),
                to_come=to_come,
                groups=self._groups,
            )
        except DamagedFileError:  # of the best trial; `compare` says so
            return ""
        self._is_said = bool(found)
        if found and not self._stops:
            say(f"Noise rules from here on: {found}. --stop-at-noise would stop.")
        return f"Noise rules: {found}." if found and self._stops else ""


def noise(
    folder: StudyFolder,
    complete: Mapping[str, float],
    objective: Objective,
    *,
    num_drawn: int,
    to_come: int,
    groups: Mapping[str, str] | None = None,
) -> str:
    """Return in words that the expected gain is below the standard error; empty if it is not.

    The gain is that of the trials to come, the error that of the best trial's objective. Empty also
    for any objective but the AUC on one slice, whose standard error alone is known. `complete` has
    the objective of each complete trial by its recipe; for the counts see `expected_gain`, for
    `groups` `groups_of_scores`.
    """
    if objective.metric != "auc" or not to_come or not complete:
        return ""
    gain = expected_gain(list(complete.values()), num_drawn=num_drawn, to_come=to_come)
    files = folder.trial(max(complete, key=lambda recipe: complete[recipe]))
    if gain is None or not files.scores.exists():
        return ""
    scores = files.read_scores()
    names = scores["slice"].unique()
    if not objective.has_standard_error(names):
        return ""
    there = scores[scores["slice"].isin(objective.slices_among(names))]
    best = auc(there["target"], there["score"], groups_of_scores(folder, there, groups))
    if not noise_rules(gain, best):
        return ""
    return (
        f"{counted(to_come, 'more trial')} can be expected to raise auc by {gain:.4f}, and another "
        f"{objective.place} set of {len(there)} files would move the best one's by "
        f"{best.standard_error:.4f} (one standard error, DeLong)"
    )


def expected_gain(objectives: Sequence[float], *, num_drawn: int, to_come: int) -> float | None:
    """Return by how much `to_come` more trials are expected to raise the best objective.

    The best of the trials are taken for the upper tail of an exponential distribution. Its scale
    is the mean excess of the best third over the next one, and the best of n draws lies the n-th
    harmonic number of scales above the origin (Renyi 1953, "On the theory of order statistics").
    A sampler that still learns does better than this; one that is done learning, as well.

    Args:
        objectives: Of the complete trials.
        num_drawn: Trials that had their chance, those stopped early included.
        to_come: Trials still to be drawn.

    Returns:
        The gain, 0 or more; nothing with fewer than `LEAST_COMPLETE` trials.
    """
    if len(objectives) < LEAST_COMPLETE:
        return None
    ranked = sorted(objectives, reverse=True)
    best = len(ranked) // 3
    scale = sum(abs(value - ranked[best]) for value in ranked[:best]) / best
    return scale * sum(1 / n for n in range(num_drawn + 1, num_drawn + to_come + 1))


def noise_rules(gain: float, best: Estimate) -> bool:
    """Return whether an expected gain is smaller than the standard error of the best AUC.

    The standard error is what another validation set of this size would change.
    """
    return best.standard_error is not None and gain < best.standard_error
