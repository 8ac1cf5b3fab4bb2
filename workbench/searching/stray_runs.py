"""Runs in the tracking store of trials, packs and refits that a study does not have."""

from collections.abc import Collection, Iterable

from workbench.console import say
from workbench.study.disk import removed
from workbench.study.folder import StudyFolder
from workbench.tables import counted
from workbench.tracking.runs import Kind, Tracking, TrialRun

_WHY = "The study has no such {} any more, as where its folder was put back from an older copy."


def end_strays(
    tracking: Tracking,
    there: Iterable[TrialRun],
    noted: Collection[str],
    *,
    kind: Kind = "trial",
) -> None:
    """End as interrupted each run of an ended trial that no trial of the study notes; say how many.

    Of a folder that was put back from a copy older than the store, the trials since then are there:
    beside those of the study they would pass for more of its trials.

    Args:
        tracking: The store.
        there: The runs of the study in it.
        noted: The runs that the study's trials note.
        kind: What they are runs of.
    """
    strays = [
        run
        for run in there
        if run.state in ("complete", "pruned") and not run.deleted and run.run_id not in noted
    ]
    for run in strays:
        tracking.end_trial(run.run_id, state="interrupted", reason=_WHY.format(kind))
    if strays:
        say(
            f"MLflow had {counted(len(strays), 'run')} of {kind}s that the study does not have, "
            "as where its folder was put back from an older copy: ended there as interrupted."
        )


def end_strays_of_models(tracking: Tracking, parent: str, folder: StudyFolder) -> None:
    """End as interrupted the runs of packs and refits that a study lost, but not cleaned away.

    Args:
        tracking: The store.
        parent: The study's run in it.
        folder: The study.
    """
    kinds: dict[Kind, str] = {"pack": "packs", "refit": "refits"}
    cleaned = removed(folder)
    for kind, place in kinds.items():
        known = cleaned | {one.name for one in folder.path.glob(f"{place}/*")}
        runs = tracking.trial_runs(parent, kind=kind)
        noted = {run.run_id for run in runs if run.uid in known}
        end_strays(tracking, runs, noted, kind=kind)
