"""The slices of a study that are labelled folders of their own, with files of their own."""

from workbench.errors import DamagedFileError
from workbench.files import read_json
from workbench.study.folder import StudyFolder

FOLDERS_FILE = "slices.json"
"""File of the study that says where the labelled folders are, and what they held."""


def slice_folders(folder: StudyFolder) -> frozenset[str]:
    """Return the names of a study's slices that are folders of their own.

    A file there is another one than that of `val` which is called alike; all other slices are of
    the files of `val`. None is known where the study says nothing that can be read.
    """
    try:
        return frozenset(noted_folders(folder))
    except (OSError, DamagedFileError):
        return frozenset()


def noted_folders(folder: StudyFolder) -> dict[str, dict[str, str]]:
    """Return where each such folder was when the study began, and what it held: by its name.

    Raises:
        DamagedFileError: the file is not what was written.
    """
    file = folder.path / FOLDERS_FILE
    if not file.exists():
        return {}
    try:
        noted = read_json(file)
    except (ValueError, RecursionError):
        noted = None
    if not isinstance(noted, dict) or not all(map(_is_note, noted.values())):
        raise DamagedFileError(
            f"{file} is damaged. Put the file back from a copy, or start another study by --study "
            "NAME."
        )
    return noted


def _is_note(about: object) -> bool:
    return isinstance(about, dict) and all(
        isinstance(about.get(key), str) for key in ("data", "fingerprint")
    )
