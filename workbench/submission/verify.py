"""A bundle checked against its manifest, and run as the program that it is."""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from workbench.errors import BundleError
from workbench.files import hash_file
from workbench.submission.contents import CODE, MANIFEST, PROGRAM, Contents, read_contents


def check_bundle(bundle: Path) -> Contents:
    """Return the manifest of a bundle after comparing every file with it.

    Bytecode that Python left beside the code is passed over; `run_predict` removes it.

    Raises:
        BundleError: there is no manifest, or a file is missing, changed, or not named in it.
    """
    contents = read_contents(bundle)
    there = _files(bundle)
    again = "Export the bundle again."
    for name, record in contents.files.items():
        if name not in there:
            raise BundleError(f"{bundle} is incomplete: {name} is missing. {again}")
        path = there[name]
        if path.stat().st_size != record.size_bytes or hash_file(path) != record.sha256:
            raise BundleError(f"{bundle} was changed: {name} is not the exported file. {again}")
    extra = sorted(there.keys() - contents.files.keys() - {MANIFEST})
    if extra:
        raise BundleError(f"{bundle} was changed: {extra[0]} does not belong to it. Remove it.")
    return contents


def run_predict(bundle: Path, files: Sequence[Path], out: Path, device: str = "cpu") -> None:
    """Score `files` into the CSV file `out` by the code and weights of a bundle alone.

    A bundle is a program: its manifest shows that it is whole, not that its author means well.

    Args:
        bundle: The bundle's folder.
        files: Media files.
        out: The CSV file: a name and a score for each file.
        device: A torch device.

    Raises:
        BundleError: the bundle was changed, or its program failed; what that said is on stderr.
    """
    check_bundle(bundle)
    # Bytecode need not be of the files just checked; Python makes it anew.
    for cache in (bundle / CODE).rglob("__pycache__"):
        shutil.rmtree(cache)
    # Isolated: neither the environment nor the present folder adds to the import path.
    command: list[str | Path] = [sys.executable, "-I", bundle / PROGRAM]
    options: list[str | Path] = [f"--out={out}", f"--device={device}", "--", *files]
    code = subprocess.run([*command, *options], check=False).returncode
    if code:
        raise BundleError(
            f"{bundle / PROGRAM} ended with exit code {code}; its own message stands above."
        )


def _files(bundle: Path) -> dict[str, Path]:
    """Return the files of a bundle by their path within it.

    Raises:
        BundleError: something in it is neither a file nor a folder.
    """
    found = {}
    for path in bundle.rglob("*"):
        name = path.relative_to(bundle).as_posix()
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise BundleError(f"{bundle} was changed: {name} is a link or a device. Remove it.")
        is_bytecode = path.suffix == ".pyc" and path.parent.name == "__pycache__"
        if path.is_file() and not is_bytecode:
            found[name] = path
    return found
