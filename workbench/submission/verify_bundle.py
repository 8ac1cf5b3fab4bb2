"""A bundle verified: its files, then its program over the whole test set in a clean environment."""

import platform
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from packaging.utils import canonicalize_name

from workbench.access import full_disk_told
from workbench.console import cut_text, say, track, visible
from workbench.data.delimited import quoted
from workbench.data.manifest import Layout
from workbench.data.names import find_files
from workbench.errors import BundleError, DataError, WorkbenchError
from workbench.files import hash_file, write_bytes
from workbench.submission.agreement import disagreements
from workbench.submission.contents import Contents, read_manifest_of_bundle
from workbench.submission.neutral import neutral_of
from workbench.submission.places import MANIFEST, PREDICTIONS, PROGRAM, SCORED_FILES
from workbench.submission.predictions import fill
from workbench.submission.scored_files import read_scored_files
from workbench.submission.verify import file_faults
from workbench.submission.verify_environment import (
    CleanEnvironment,
    environment_of,
    make_environment,
    read_requirements,
)
from workbench.submission.verify_report import LineResult, VerifyLine, VerifyReport, took_told
from workbench.submission.verify_run import ProgramRun, run_program
from workbench.submission.verify_scores import (
    compare_rows,
    compare_scores,
    read_predictions,
    tolerance_of,
)


def verify_bundle(
    bundle: Path,
    data: Path,
    *,
    wheels: Path | None = None,
    is_linked: bool = False,
    device: str = "cpu",
) -> VerifyReport:
    """Return whether a bundle is whole and gives its stored scores again.

    A bundle is a program, and its own code runs. One whose files are not those of its manifest is
    not run.

    Args:
        bundle: The bundle's folder.
        data: The data folder, or the folder of the test media itself.
        wheels: A folder of wheels that the clean environment is made of; else the package index.
        is_linked: Take the packages of the present environment, with this program hidden.
        device: The torch device that scores.

    Raises:
        BundleError: `bundle` is no bundle.
        DataError: `data` is no folder.
    """
    bundle = bundle.absolute()
    contents = read_manifest_of_bundle(bundle)
    if not data.is_dir():
        raise DataError(f"The data folder {data} does not exist. Give an existing one by --data.")
    with TemporaryDirectory(prefix="workbench-verify-", ignore_cleanup_errors=True) as place:
        found = _Verification(bundle, contents, Path(place), device)
        with full_disk_told(Path(place)):
            found.run_all(data, wheels=wheels, is_linked=is_linked)
    return found.report()


class _Verification:
    """The checks of one bundle, made one after the other."""

    def __init__(self, bundle: Path, contents: Contents, place: Path, device: str) -> None:
        self._bundle, self._contents, self._place, self._device = bundle, contents, place, device
        self._tolerance = tolerance_of(contents.device, device)
        self._lines: list[VerifyLine] = []
        self._environment: CleanEnvironment | None = None
        self._ran: ProgramRun | None = None
        self._num_there = 0
        self._out = place / "predictions.csv"

    def run_all(self, data: Path, *, wheels: Path | None, is_linked: bool) -> None:
        """Make every check for which those before it leave something to look at."""
        media = media_folder(data, self._contents)
        self._check("files", self._files)
        why = "" if self._passed("files") else "a changed bundle is not looked into"
        self._check("documents", self._documents, unless=why)
        self._check("requirements", self._requirements)
        self._check("test files", lambda: self._test_files(media))
        is_whole = self._passed("files") and self._passed("requirements")
        can_run = is_whole and self._num_there > 0
        if can_run:
            say(f"A clean environment for {self._bundle} is made ...")
        why = "there are no test files to run on" if is_whole else "a changed bundle is not run"
        self._check(
            "environment",
            lambda: self._make(wheels=wheels, is_linked=is_linked),
            unless="" if can_run else why,
        )
        why = why if not can_run else "there is no environment"
        self._check("packages", self._packages, unless="" if self._environment else why)
        self._check("run", lambda: self._run(media), unless="" if self._environment else why)
        why = "predict.py did not run to its end" if self._environment else why
        for name, check in (
            ("rows", self._rows),
            ("scores", self._scores),
            ("network", self._network),
            ("files after", self._files),
        ):
            self._check(name, check, unless="" if self._passed("run") else why)

    def report(self) -> VerifyReport:
        """Return what was found."""
        environment, ran, contents = self._environment, self._ran, self._contents
        neutral = ""
        with suppress(BundleError):
            unseen = neutral_of(read_scored_files(self._bundle))
            if count := len(unseen.files):
                neutral = (
                    f"{count} of the {unseen.num_files} test files have a neutral score, which "
                    f"says nothing of them: {SCORED_FILES} lists them."
                )
        return VerifyReport(
            bundle=str(self._bundle),
            manifest_sha256=hash_file(self._bundle / MANIFEST),
            study=contents.study,
            recipe=contents.recipe,
            exported=contents.created,
            verified=datetime.now(UTC).isoformat(timespec="seconds"),
            platform=f"{platform.system()} {platform.machine()}",
            python=environment.version if environment else "",
            environment=environment.said if environment else "",
            device=self._device,
            stored_on=contents.device,
            tolerance=self._tolerance,
            seconds=ran.seconds if ran else None,
            peak_memory_bytes=ran.peak_memory_bytes if ran else None,
            neutral=neutral,
            lines=tuple(self._lines),
        )

    def _check(self, name: str, check: Callable[[], str], *, unless: str = "") -> None:
        """Add the line of a check; it is not made if `unless` says why."""
        result: LineResult = "pass"
        if unless:
            result, said = "not run", unless
        else:
            try:
                said = check()
            except WorkbenchError as error:
                result, said = "fail", str(error)
        self._lines.append(VerifyLine(name=name, result=result, said=said))

    def _passed(self, name: str) -> bool:
        return any(line.name == name and line.result == "pass" for line in self._lines)

    def _files(self) -> str:
        faults = list(file_faults(self._bundle, self._contents))
        if faults:
            more = len(faults) - 1
            raise BundleError(faults[0] + (f" There are {more} more such faults." if more else ""))
        return f"{len(self._contents.files)} files have the SHA-256 that {MANIFEST} tells"

    def _documents(self) -> str:
        names, faults = disagreements(self._bundle, self._contents)
        if faults:
            raise BundleError(f"{'; '.join(faults)}. Ask the bundle's author which is right.")
        return f"{', '.join(names)} tell of one model"

    def _requirements(self) -> str:
        wanted = _normal(self._contents.versions)
        found = _normal(read_requirements(self._bundle))
        if found != wanted:
            name = min({*wanted.items()} ^ {*found.items()})[0]
            raise BundleError(
                f"requirements.txt asks for {name} {found.get(name, '(no version)')}, and "
                f"{MANIFEST} tells {wanted.get(name, '(no version)')}. Export the bundle again."
            )
        return f"{len(found)} packages, each in one version, as {MANIFEST} tells"

    def _test_files(self, media: Path) -> str:
        stored = read_predictions(self._bundle / PREDICTIONS, self._contents)
        if not stored.names:
            raise DataError(
                "The bundle predicts no files, for its data had no test files: there is nothing to "
                "hold a run against. `workbench predict` shows that the program runs."
            )
        files = find_files(stored.names, media, where=PREDICTIONS).files
        self._num_there = len(files)
        if not files:
            raise DataError(
                f"None of the {len(set(stored.names))} test files lies in {media}. Name the data "
                "folder, or the folder of the test media, by --data."
            )
        scored = read_scored_files(self._bundle)
        if not any(one.sha256 for one in scored):
            return f"{len(files)} lie in {media}; this bundle does not tell their content"
        others = []
        for one in track(scored, "test files", unit="file"):
            there = files.get(one.name)
            if _content(media / there if there else None) != one.sha256:
                others.append(one.name)
        if others:
            raise DataError(
                f"{len(others)} of the {len(scored)} test files are not those that were scored, "
                f"e.g. {quoted(others[0])}. Name the data that the bundle was exported from."
            )
        return f"{len(scored)} are those that were scored, by their SHA-256"

    def _make(self, *, wheels: Path | None, is_linked: bool) -> str:
        self._environment = make_environment(
            self._place / "environment", self._bundle, wheels=wheels, is_linked=is_linked
        )
        return self._environment.said

    def _packages(self) -> str:
        assert self._environment is not None
        wanted = _normal(self._contents.versions)
        found = self._environment.versions
        other = [
            f"{name} {found.get(name, '(absent)')} in place of {visible(cut_text(number, 40))}"
            for name, number in wanted.items()
            if found.get(name) != number
        ]
        there, made_with = self._environment.version, self._contents.python
        if there.split(".")[:2] != made_with.split(".")[:2]:
            other.append(f"Python {there} in place of {visible(cut_text(made_with, 40))}")
        if self._environment.project:
            raise BundleError(
                f"The clean environment still finds this program, at {self._environment.project}."
            )
        if other:
            raise BundleError(f"The environment has {', '.join(other)}.")
        return f"{len(wanted)} packages in the recorded versions, Python {there}"

    def _run(self, media: Path) -> str:
        assert self._environment is not None
        home = self._place / "home"
        home.mkdir()
        say(f"predict.py of {self._bundle} scores the test set on {self._device} ...")
        program: list[str | Path] = [self._environment.python, "-I", "-B", self._bundle / PROGRAM]
        # Without the stored scores: a program that left rows as they are would seem to give them.
        stored = read_predictions(self._bundle / PREDICTIONS, self._contents)
        template = self._place / "template.csv"
        write_bytes(template, fill(stored, dict.fromkeys(stored.names, 0.5)))
        what: list[str | Path] = [
            "--template",
            template,
            "--media",
            media.absolute(),
        ]
        self._ran = run_program(
            [*program, *what, "--out", self._out, "--device", self._device],
            cwd=home,
            variables=environment_of(home),
        )
        if self._ran.exit_code:
            raise BundleError(
                f"{PROGRAM} ended with exit code {self._ran.exit_code}; its own message stands "
                "above."
            )
        return f"{PROGRAM} took {took_told(self._ran.seconds, self._ran.peak_memory_bytes)}"

    def _network(self) -> str:
        assert self._environment is not None
        if asked := self._environment.asked:
            first = visible(cut_text(asked[0], 80))
            raise BundleError(
                f"It asked for the network, which was closed: {len(asked)} in all, first {first}."
            )
        return "it asked for nothing from the network, which was closed to its Python code"

    def _rows(self) -> str:
        stored = read_predictions(self._bundle / PREDICTIONS, self._contents)
        return compare_rows(stored, read_predictions(self._out, self._contents))

    def _scores(self) -> str:
        stored = read_predictions(self._bundle / PREDICTIONS, self._contents)
        found = read_predictions(self._out, self._contents)
        neutral = [file.name for file in neutral_of(read_scored_files(self._bundle)).files]
        said = compare_scores(stored, found, self._tolerance, neutral)
        return f"{said}, on {self._device}{_stored_told(self._contents.device)}"


def media_folder(data: Path, contents: Contents) -> Path:
    """Return the folder of a bundle's test media: one within `data`, or `data` itself."""
    names = (contents.test_media,) if contents.test_media else Layout().test_media
    for name in names:
        if ".." not in Path(name).parts and (data / name).is_dir():
            return data / name
    return data


def _stored_told(device: str) -> str:
    if device in ("", "cpu"):
        return ""
    return f"; the stored ones were computed on {visible(cut_text(device, 60))}"


def _content(path: Path | None) -> str:
    """Return the SHA-256 of a file's bytes; empty where there are none, as a study keeps it."""
    try:
        return hash_file(path) if path and path.stat().st_size else ""
    except OSError:
        return ""


def _normal(versions: dict[str, str]) -> dict[str, str]:
    return {str(canonicalize_name(name)): number for name, number in versions.items()}
