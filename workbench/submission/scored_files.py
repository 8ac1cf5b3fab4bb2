"""The test files that the predictions are of: the content of each, and what the model saw of it.

A file that is missing or broken has a score all the same, since a submission needs every row. That
score says nothing of the file, so each such file is listed.
"""

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from workbench.data.delimited import csv_table, quoted
from workbench.errors import BundleError
from workbench.submission.places import SCORED_FILES

Neutrality = Literal["no", "partly", "wholly"]
"""How much of what the model was given of a file was neutral, a grey picture or silence."""

_HEADER = ("name", "sha256", "neutral", "why")


@dataclass(frozen=True)
class ScoredFile:
    """A test file as it was scored."""

    name: str
    """As the template has it."""

    sha256: str
    """Of its bytes; empty where they could not be read, or are not known."""

    neutral: Neutrality
    why: str = ""
    """Why it is neutral, in part or as a whole, if that is known."""

    @property
    def line(self) -> str:
        """The name and the reason, for a person."""
        return quoted(self.name) + (f" ({self.why})" if self.why else "")


def scored_files_table(files: Iterable[ScoredFile]) -> str:
    """Return the files as comma-separated text, a line each below a header."""
    rows = [(file.name, file.sha256, file.neutral, file.why) for file in files]
    return csv_table([_HEADER, *rows])


def read_scored_files(bundle: Path) -> tuple[ScoredFile, ...]:
    """Return the files that a bundle names; none if it is of a version that named none.

    Raises:
        BundleError: the table is not what was written.
    """
    path = bundle / SCORED_FILES
    if not path.is_file():
        return ()
    try:
        header, *rows = csv.reader(io.StringIO(path.read_text(encoding="utf-8"), newline=""))
        if tuple(header) != _HEADER or any(row[2] not in get_args(Neutrality) for row in rows):
            raise ValueError("another header")
        kinds = {kind: kind for kind in get_args(Neutrality)}
        return tuple(ScoredFile(name, sha, kinds[kind], why) for name, sha, kind, why in rows)
    except (OSError, ValueError, IndexError, csv.Error) as error:
        raise BundleError(f"{path} cannot be read. Export the bundle again.") from error
