"""Whether all places can be written in which a study is kept."""

from pathlib import Path

from workbench.access import require_writable
from workbench.addresses import TrackingPlace, folders_of
from workbench.study.storage import open_database
from workbench.tracking.server import open_store


def require_places(folder: Path, tracking: TrackingPlace, storage: str | None = None) -> None:
    """Check that a study can be kept where it is to be kept.

    `storage` is the address of the database that keeps its trials; None of its own journal.

    Raises:
        AccessError: this user may not write to a folder.
        StoreError: the database or the server does not answer, or refuses to.
    """
    for place in (folder, folder / "trials", *folders_of(tracking)):
        require_writable(place)
    if storage is not None:
        open_database(storage)
    if not folders_of(tracking):
        open_store(tracking)
