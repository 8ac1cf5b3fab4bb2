"""Where the runs of a study are kept, with full disks told."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import gettempdir

from workbench.access import full_disk_told
from workbench.addresses import TrackingPlace, folders_of
from workbench.study.folder import StudyFolder
from workbench.workspace import Workspace


@contextmanager
def full_disks_told(folder: StudyFolder, workspace: Workspace) -> Iterator[TrackingPlace]:
    """Give the body where the runs of a study are; tell of full disks, which it may write to.

    Raises:
        DiskFullError: the body failed, and a disk is full.
    """
    server = folder.experiment().tracking if folder.experiment_file.exists() else None
    tracking = workspace.tracking_of(server)
    with full_disk_told(folder.path, *folders_of(tracking), Path(gettempdir())):
        yield tracking
