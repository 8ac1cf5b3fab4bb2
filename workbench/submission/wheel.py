"""A wheel of the running program, made of its installed files: nothing is built or downloaded.

Source: PEP 427, "The Wheel Binary Package Format 1.0", and the specification of recorded projects.
"""

import base64
import hashlib
import zipfile
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path

from workbench.errors import BundleError
from workbench.submission.bundle_code import PACKAGE

_FIRST_DAY = (1980, 1, 1, 0, 0, 0)
"""The time of every file: the same files make the same wheel."""

_WHEEL = """\
Wheel-Version: 1.0
Generator: workbench
Root-Is-Purelib: true
Tag: py3-none-any
"""


def write_wheel(folder: Path) -> Path:
    """Write a wheel of this program into `folder`; return the file.

    Its modules are those that run now; its metadata are those that it was installed with.

    Raises:
        BundleError: the program was never installed, so that nothing says what it needs.
    """
    # A Python that runs in a clone finds its `egg-info` first, which has no METADATA.
    found = distributions(name=PACKAGE.name)
    installed = next((one for one in found if one.read_text("METADATA")), None)
    if installed is None:
        raise BundleError(
            f"{PACKAGE.name} runs from {PACKAGE.parent} and was never installed, so the bundle "
            "cannot hold a wheel of it for train.py. Install it by `pip install -e .` there."
        )
    version = installed.version
    place = f"{PACKAGE.name}-{version}.dist-info"
    files = dict(_modules()) | {f"{place}/{name}": data for name, data in _metadata(installed)}
    files[f"{place}/WHEEL"] = _WHEEL.encode()
    files[f"{place}/RECORD"] = _record(files, f"{place}/RECORD").encode()
    out = folder / f"{PACKAGE.name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name, _FIRST_DAY)
            entry.external_attr, entry.compress_type = 0o644 << 16, zipfile.ZIP_DEFLATED
            archive.writestr(entry, data)
    return out


def _modules() -> Iterator[tuple[str, bytes]]:
    """Yield the files of the package, all but bytecode and what is hidden."""
    for path in sorted(PACKAGE.rglob("*")):
        parts = path.relative_to(PACKAGE.parent).parts
        is_plain = not any(part.startswith(".") or part == "__pycache__" for part in parts)
        if path.is_file() and is_plain and path.suffix != ".pyc":
            yield "/".join(parts), path.read_bytes()


def _metadata(installed: Distribution) -> Iterator[tuple[str, bytes]]:
    """Yield what an installation needs of the metadata, with the licences."""
    for name in ("METADATA", "entry_points.txt", "top_level.txt"):
        if text := installed.read_text(name):
            yield name, text.encode()
    for file in installed.files or []:
        if "licenses" in file.parts:
            below = file.parts[file.parts.index("licenses") :]
            yield "/".join(below), Path(str(file.locate())).read_bytes()


def _record(files: dict[str, bytes], own: str) -> str:
    lines = []
    for name, data in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        lines.append(f"{name},sha256={digest},{len(data)}")
    return "\n".join([*lines, f"{own},,", ""])
