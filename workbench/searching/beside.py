"""Work beside a search: made in a thread of its own, recorded by the thread that searches."""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from workbench.data.prepare import Prepared
from workbench.searching.augment_sheet import write_augment_sheets
from workbench.searching.recording import StudyRuns
from workbench.space.space import Space
from workbench.study.folder import StudyFolder

AUGMENT_SHEETS = "augmentations"
"""Folder of a study, and of its record, that holds them."""


class Beside:
    """Files that are made while trials train, so that neither a device nor Ctrl-C waits for them.

    Args:
        make: Makes the files; it touches nothing that a search uses.
        record: Enters them where the search keeps its records.
    """

    def __init__(
        self, make: Callable[[], Sequence[Path]], record: Callable[[Sequence[Path]], None]
    ) -> None:
        self._make, self._record = make, record
        # Left behind where the search is interrupted: each file is finished or absent.
        self._thread = threading.Thread(target=self._run, name="beside", daemon=True)
        self._made: Sequence[Path] | Exception = ()
        self._is_begun = self._is_recorded = False

    def look(self) -> None:
        """Begin the work; when it is done, record it, once.

        Raises:
            Exception: what making the files raised.
        """
        if not self._is_begun:
            self._is_begun = True
            self._thread.start()
        elif not self._is_recorded and not self._thread.is_alive():
            self._is_recorded = True
            if isinstance(self._made, Exception):
                raise self._made
            self._record(self._made)

    def finish(self) -> None:
        """Wait until the work is done, and record it."""
        self.look()
        self._thread.join()
        self.look()

    def _run(self) -> None:
        try:
            self._made = self._make()
        except Exception as error:  # noqa: BLE001 (raised by the thread that asks)
            self._made = error


def sheets_beside(
    folder: StudyFolder, space: Space, prepared: Prepared, runs: StudyRuns
) -> Beside | None:
    """Return how the sheets of what the space does to samples are made, once a study."""
    if runs.tracking.has_files(runs.parent, AUGMENT_SHEETS):
        return None

    def make() -> list[Path]:
        sheets = write_augment_sheets(space, prepared, folder.path / AUGMENT_SHEETS)
        return [sheet.file for sheet in sheets]

    def record(files: Sequence[Path]) -> None:
        runs.tracking.log_files(runs.parent, AUGMENT_SHEETS, files)

    return Beside(make, record)
