"""The FFmpeg program by which moviepy writes sounds and videos."""

import errno
import os
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from workbench.errors import SPACE
from workbench.files import no_space
from workbench.media.source import failure

_LOADING = threading.Lock()


def load_moviepy() -> str:
    """Load moviepy without a file `.env`; return the FFmpeg program that it runs.

    moviepy sets what a `.env` says in the environment, and runs the FFMPEG_BINARY of it at once.
    In a process that was started by `python -c`, as multiprocessing does, and in a notebook it
    looks for that file in the folder that the process runs in: that may be a stranger's.

    Call it before anything is imported from moviepy.
    """
    with _LOADING:
        if "moviepy.config" not in sys.modules:
            own = sys.modules.pop("dotenv", None)
            modules: dict[str, Any] = sys.modules
            modules["dotenv"] = None  # an import of it fails, which moviepy expects
            try:
                import moviepy.config  # noqa: F401
            finally:
                del sys.modules["dotenv"]
                if own is not None:
                    sys.modules["dotenv"] = own
    from moviepy.config import FFMPEG_BINARY

    return str(FFMPEG_BINARY)


class Encoder:
    """An FFmpeg that writes a file, with a look at how it ends: moviepy, which starts it, has none.

    Args:
        writer: moviepy's `FFMPEG_AudioWriter` or `FFMPEG_VideoWriter`.
        file: What it writes.
    """

    def __init__(self, writer: Any, file: Path) -> None:
        self._writer, self._process, self._folder = writer, writer.proc, file.parent
        self._takes_more = True
        self._said: str | None = None
        """What FFmpeg wrote to stderr, once it has ended."""

    def write(self, values: npt.NDArray[np.generic]) -> None:
        """Hand on the next frame, or samples; the errors are those of `finish`."""
        try:
            self._process.stdin.write(values.tobytes())
        except OSError:  # the other end of the pipe is gone, and the reason is told there
            self._takes_more = False
            self.finish()

    def finish(self) -> None:
        """Let FFmpeg finish the file.

        Raises:
            OSError: (ENOSPC) the disk is full.
            MediaError: crashed: it is not finished for another reason.
        """
        said = self.close()
        code = self._process.returncode
        is_whole = self._takes_more and not code
        # An older FFmpeg ends with 0 where the last bytes did not fit. Another process may have
        # made space since.
        if any(os.strerror(number) in said for number in SPACE) or (
            not is_whole and no_space(self._folder)
        ):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._folder))
        if not is_whole:
            raise failure("crashed", f"the encoder died on this file (exit code {code})")

    def close(self) -> str:
        """End FFmpeg, whatever it was given; return what it said."""
        if self._said is None:
            _, said = self._process.communicate()
            self._said = (said or b"").decode(errors="replace")
            self._writer.close()
        return self._said
