"""The FFmpeg program by which moviepy writes sounds and videos."""

import sys
import threading
from typing import Any

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
