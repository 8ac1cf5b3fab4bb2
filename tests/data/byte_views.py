"""Views that do what a file's bytes say; little is imported here, since each decoder does it."""

import errno
import os
import time
from pathlib import Path
from typing import Literal

import numpy as np

from workbench.errors import MediaError
from workbench.media.view import FileView, Made


class Bytes(FileView):
    """The first byte of a file, all over. Each decoding leaves a line in `../decoded`."""

    kind: Literal["bytes"] = "bytes"
    modality = "picture"
    image_px: int = 2

    @property
    def shape(self) -> tuple[int, ...]:
        return (1, self.image_px, self.image_px, 1)

    def of_file(self, path: Path) -> Made:
        with (path.parents[1] / "decoded").open("a") as log:
            log.write(path.name + "\n")
        data = path.read_bytes()
        if data.startswith(b"!"):
            raise MediaError("it begins with !", status="broken")
        if data == b"hang":
            time.sleep(60)
        if data == b"eat":
            np.ones(1 << 33)
        if data == b"full":
            raise OSError(errno.ENOSPC, "No space left on device")
        if data == b"disk" and (path.parents[1] / "failing").exists():
            raise OSError(errno.EIO, "Input/output error")
        if data == b"die":
            os._exit(3)
        note = "it ends with ~" if data.endswith(b"~") else ""
        return Made(np.full(self.stored_shape, data[0], np.uint8), reason=note)


class Picky(Bytes):
    """Has a bug that some files meet."""

    kind: Literal["picky"] = "picky"  # type: ignore[assignment]

    def of_file(self, path: Path) -> Made:
        if b"?" in path.read_bytes():
            _ = 1 / 0
        return super().of_file(path)
