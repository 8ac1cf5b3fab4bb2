"""The page of a study in its bundle, made when the bundle is exported."""

from pathlib import Path

from workbench.files import write_text
from workbench.pages import without_media
from workbench.report.page import write_report
from workbench.selection.statistics import read_scored_trials
from workbench.study.alike import measured_alike
from workbench.study.folder import StudyFolder
from workbench.study.storage import address_of


def write_study_page(folder: StudyFolder, path: Path) -> None:
    """Write the page of the study as it is now; one that lost its trials has none."""
    if address_of(folder) is None and not folder.journal.exists():
        return
    rows, _ = measured_alike(folder, read_scored_trials(folder))
    write_report(folder, rows, folder.experiment().objective, path)
    # The media that it shows are the data's, and not this author's to hand on.
    write_text(path, without_media(path.read_text(encoding="utf-8")))
