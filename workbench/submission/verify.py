"""A bundle checked against its manifest, and run as the program that it is."""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory

from workbench.console import cut_text, say
from workbench.errors import BundleError
from workbench.files import hash_file
from workbench.submission.contents import Contents, read_manifest_of_bundle
from workbench.submission.paths import check_files, check_out, write_out
from workbench.submission.places import MANIFEST, PREDICTIONS, PROGRAM
from workbench.submission.predictions import is_filled, named_sheet, read_sheet


def check_bundle(bundle: Path) -> Contents:
    """Return the manifest of a bundle after comparing every file with it.

    Nothing of the bundle is imported, and nothing in it is bytecode, which Python would run in the
    place of the code that was checked.

    Raises:
        BundleError: there is no manifest, or a file is missing, changed, bytecode, or not named in
            it.
    """
    contents = read_manifest_of_bundle(bundle)
    for fault in file_faults(bundle, contents):
        raise BundleError(fault)
    return contents


def file_faults(bundle: Path, contents: Contents) -> Iterator[str]:
    """Yield, a sentence each, what the files of a bundle are not as its manifest says."""
    there: dict[str, Path] = {}
    for path in sorted(bundle.rglob("*")):
        name = path.relative_to(bundle).as_posix()
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            yield f"{bundle} was changed: {name} is a link or a device. Remove it."
        elif path.name == "__pycache__" or path.suffix.lower() in (".pyc", ".pyo"):
            yield (
                f"{bundle} was changed: {name} is bytecode, which would run unchecked. Remove "
                "every __pycache__ and .pyc in it; Python leaves them where code is run without -B."
            )
        if path.is_file():
            there[name] = path
    again = "Export the bundle again."
    for name, record in contents.files.items():
        if name not in there:
            yield f"{bundle} is incomplete: {name} is missing. {again}"
            continue
        path = there[name]
        try:
            same = path.stat().st_size == record.size_bytes and hash_file(path) == record.sha256
        except OSError as error:
            yield f"{path} cannot be read: {error.strerror}."
            continue
        if not same:
            yield f"{bundle} was changed: {name} is not the exported file. {again}"
    for name in sorted(there.keys() - contents.files.keys() - {MANIFEST}):
        yield f"{bundle} was changed: {name} does not belong to it. Remove it."


def run_predict(
    bundle: Path,
    files: Sequence[Path],
    out: Path,
    device: str = "cpu",
    *,
    template: tuple[Path, Path] | None = None,
) -> None:
    """Score `files` into the CSV file `out` by the code and weights of a bundle alone.

    A bundle is a program: its manifest shows that it is whole, not that its author means well. A
    line on stderr says so before it runs.

    Args:
        bundle: The bundle's folder.
        files: Media files.
        out: The CSV file: a name and a score for each file.
        device: A torch device.
        template: A template that names all files, and the folder that they are in: they may be
            more than a command line can name.

    Raises:
        BundleError: the bundle was changed, or its program failed; what that said is on stderr.
        DataError: a file is not there or cannot be read, or `out` may not be written.
    """
    contents = check_bundle(bundle)
    # Here too, since a bundle of an older version looks at none of this.
    check_files(files)
    columns = contents.name_column, contents.score_column
    if template is None:
        sheet = named_sheet(columns, files)
    else:
        sheet = read_sheet(template[0], name_column=columns[0], score_column=columns[1])
    is_earlier = partial(is_filled, sheet)
    check_out(out, inputs=files, bundle=bundle, is_earlier=is_earlier)
    say(
        f"{bundle} is whole. It is a program, and runs on this machine with your rights: predict "
        "by bundles whose author you trust."
    )
    if other := _other_versions(contents):
        say(
            f"Scores may differ from the exported ones: here is {', '.join(other)}. An environment "
            f"made of {bundle / 'requirements.txt'} has the same."
        )
    # Isolated: neither the environment nor the present folder adds to the import path. Without
    # bytecode, by which the bundle would no longer be what was exported.
    # By its whole path, which no name of a folder turns into an option of Python.
    command: list[str | Path] = [sys.executable, "-I", "-B", (bundle / PROGRAM).absolute()]
    # What comes to `out` meanwhile is kept, whatever version of the program the bundle has.
    with TemporaryDirectory() as folder:
        scores = Path(folder, PREDICTIONS)
        options: list[str | Path] = [f"--out={scores}", f"--device={device}", "--", *files]
        if template is not None:
            options = [*options[:2], f"--template={template[0]}", f"--media={template[1]}"]
        code = subprocess.run([*command, *options], check=False).returncode
        if code:
            raise BundleError(
                f"{bundle / PROGRAM} ended with exit code {code}; its own message stands above."
            )
        if not scores.is_file():
            raise BundleError(f"{bundle / PROGRAM} ended and wrote no scores.")
        if write_out(out, scores.read_bytes(), is_earlier):
            say(f"{out} held earlier predictions: they were replaced.")


def _other_versions(contents: Contents) -> list[str]:
    """Return the packages that are installed in another version than a bundle was made with."""
    other = []
    for name, wanted in contents.versions.items():
        with suppress(PackageNotFoundError, ValueError):  # a name of nothing, too
            found = version(name).partition("+")[0]
            if found != wanted:
                other.append(f"{name} {found} in place of {cut_text(wanted, 40)}")
    return other
