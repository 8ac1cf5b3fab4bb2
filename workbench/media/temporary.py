"""Where media are written that are read at once."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

from workbench.errors import SPACE


@contextmanager
def temporary_folder(prefix: str | None = None) -> Iterator[Path]:
    """Yield a new folder for what is read at once; it is removed afterwards.

    An error of the body that is one of space is of where temporary files are: nobody knows the
    name of this folder, and many a library names nothing.
    """
    try:
        with TemporaryDirectory(prefix=prefix) as folder:
            yield Path(folder)
    except OSError as error:
        if error.errno in SPACE:
            error.filename = gettempdir()
        raise
