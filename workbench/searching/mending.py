"""What the tracking store lacks of a study, written by commands that search nothing."""

from collections.abc import Iterator
from contextlib import contextmanager

from workbench.addresses import TrackingPlace
from workbench.console import say
from workbench.errors import StudyError
from workbench.searching.messages import written_anew
from workbench.searching.recording import StudyRuns
from workbench.study.folder import StudyFolder
from workbench.study.provenance import code_tags, environment_tags
from workbench.study.records import is_row, read_study, runs_of
from workbench.study.refits import RefitRecord
from workbench.study.repeats import read_repeats
from workbench.tracking.runs import Tracking


@contextmanager
def _runs_of(folder: StudyFolder, place: TrackingPlace) -> Iterator[StudyRuns]:
    """Give the body the record of a study, which is held meanwhile."""
    with folder.held():
        runs = StudyRuns(folder, place, {**environment_tags(), **code_tags()})
        try:
            yield runs
        finally:
            runs.close("complete")


def pack_run(folder: StudyFolder, place: TrackingPlace, uid: str) -> str:
    """Return the run of a pack in the tracking store at `place`, written if it lacks it.

    Raises:
        StudyError: the store cannot be used, or another process holds the study.
        DamagedFileError: what the pack is cannot be read.
    """
    with _runs_of(folder, place) as runs:
        return runs.write_pack(folder.pack(uid))


def refit_runs(folder: StudyFolder, place: TrackingPlace, refit: RefitRecord) -> None:
    """Write the runs of a refit's models that the tracking store at `place` lacks.

    Raises:
        StudyError: the store cannot be used, or another process holds the study.
        DamagedFileError: what a model is cannot be read.
    """
    with _runs_of(folder, place) as runs:
        for model in refit.models:
            runs.write_refit(model, refit.made_by)


def mend_runs(folder: StudyFolder, place: TrackingPlace) -> None:
    """Write what the tracking store at `place` lacks of a study's ended trials.

    The study is held meanwhile, where anything is lacking.

    Raises:
        StudyError: the store cannot be used, or another process holds the study.
    """
    study = read_study(folder)
    if _is_whole(folder, place):
        return
    with _runs_of(folder, place) as runs:
        mended = runs.agree(study) + runs.agree_on_repeats()
    if mended:
        say(written_anew(mended))


def _is_whole(folder: StudyFolder, place: TrackingPlace) -> bool:
    study = read_study(folder)
    info, tracking = folder.info(), Tracking(place)
    try:
        parent = tracking.find_study(info.name, info.id)
    except StudyError:
        return False
    there = {run.run_id for run in tracking.trial_runs(parent)}
    noted = runs_of(study)
    rows = [trial.number for trial in study.get_trials(deepcopy=False) if is_row(trial)]
    repeats = {run.run_id for run in tracking.trial_runs(parent, kind="repeat")}
    return (
        tracking.has_run(parent)
        and all(noted.get(number) in there for number in rows)
        and all(each.run in repeats for each in read_repeats(folder))
    )
