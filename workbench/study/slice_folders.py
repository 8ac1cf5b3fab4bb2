"""The slices of a study that are labelled folders of their own, with files of their own."""

import json

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
        noted = read_json(folder.path / FOLDERS_FILE)
    except (OSError, json.JSONDecodeError, UnicodeDecodeError, RecursionError):
        return frozenset()
    return frozenset(noted) if isinstance(noted, dict) else frozenset()
