"""What a verification found: a line for each check, for people and for programs."""

import json
import os
import textwrap
from pathlib import Path
from typing import Literal

from workbench.console import visible
from workbench.errors import DataError
from workbench.files import read_json, write_text
from workbench.submission.markdown import as_text
from workbench.submission.paths import check_place
from workbench.tables import duration, size, width
from workbench.values import Frozen

JSON_NAME, TEXT_NAME = "verify.json", "verify.md"

LineResult = Literal["pass", "fail", "not run"]

_LIMITS = """\
It shows that these files, in this environment, give these scores of these media. It does not show
who made the bundle, what it was trained on, or how good it is on other media; and whoever changes
files and manifest alike makes another bundle that passes. Compare the SHA-256 of the manifest
with the one that its author published.
"""


class VerifyLine(Frozen):
    """One check."""

    name: str
    result: LineResult
    said: str
    """What was found, in a sentence or two."""


class VerifyReport(Frozen):
    """What a verification found."""

    bundle: str
    manifest_sha256: str
    """Of `manifest.json`, which holds the SHA-256 of every other file: it names the bundle."""

    study: str
    recipe: str
    exported: str
    """When it was exported: UTC, ISO 8601."""

    verified: str
    """When this ended: UTC, ISO 8601."""

    platform: str
    python: str
    """The version that ran it; empty if none did."""

    environment: str
    """How its environment was made; empty if it was not."""

    device: str
    """The torch device that scored."""

    stored_on: str
    """What the stored scores were computed on; empty if unknown."""

    tolerance: float
    """How far a score may be from the stored one."""

    seconds: float | None
    """Of `predict.py`, over the whole test set; absent where it did not run."""

    peak_memory_bytes: int | None
    """Of all its processes together, in main memory; absent where it is not known."""

    neutral: str
    """How many test files have a neutral score, in a sentence; empty if none has."""

    lines: tuple[VerifyLine, ...]

    @property
    def has_passed(self) -> bool:
        """Whether every check was made and passed."""
        return all(line.result == "pass" for line in self.lines)

    @property
    def verdict(self) -> str:
        """What it comes to, in a sentence."""
        failed = [line.name for line in self.lines if line.result == "fail"]
        if failed:
            return f"{self.bundle} does not pass: {', '.join(failed)}."
        return f"{self.bundle} passes: all {len(self.lines)} checks."

    def as_json(self) -> str:
        """Return it, and whether it passed, as JSON."""
        tree = {"passed": self.has_passed, **self.model_dump(mode="json")}
        return json.dumps(tree, indent=2, allow_nan=False, ensure_ascii=False)


def report_folder(bundle: Path, out: Path | None) -> Path:
    """Return where the report of a bundle is to be written, `out` or beside the bundle.

    Raises:
        DataError: nothing may be written there, it lies in the bundle, or it holds other files of
            the report's names.
    """
    whole = bundle.resolve()
    folder = out or whole.with_name(f"{whole.name}-verify")
    if folder.resolve().is_relative_to(whole):
        raise DataError(
            f"--out {folder} is inside the bundle, which must stay as it was exported. "
            "Name a folder elsewhere."
        )
    check_place(folder / TEXT_NAME)
    for name in (JSON_NAME, TEXT_NAME):
        if os.path.lexists(folder / name) and not _is_report(folder / JSON_NAME):
            raise DataError(
                f"{folder / name} is no report of an earlier verification. Name another folder by "
                "--out."
            )
    return folder


def _is_report(path: Path) -> bool:
    try:
        return "manifest_sha256" in dict(read_json(path))
    except (OSError, ValueError, TypeError, RecursionError):
        return False


def describe_verify(report: VerifyReport) -> str:
    """Return a report as text for a terminal."""
    most = max(len(line.name) for line in report.lines)
    indent = " " * (most + 11)
    lines = []
    for line in report.lines:
        start = f"{line.result:7}  {line.name:{most}}  "
        lines += textwrap.wrap(
            visible(line.said), width(), initial_indent=start, subsequent_indent=indent
        )
    ending = [report.neutral, f"SHA-256 of its manifest: {report.manifest_sha256}"]
    return "\n".join([*lines, "", *(visible(line) for line in ending if line)])


def write_verify(report: VerifyReport, folder: Path) -> None:
    """Write a report into `folder`, once for programs and once for people."""
    write_text(folder / JSON_NAME, report.as_json() + "\n")
    rows = "\n".join(
        f"| {line.result} | {line.name} | {as_text(line.said)} |" for line in report.lines
    )
    stored_on = report.stored_on or "an unknown device"
    took = "(it did not run)"
    if report.seconds is not None:
        took = took_told(report.seconds, report.peak_memory_bytes)
    facts = {
        "bundle": report.bundle,
        "SHA-256 of its manifest": report.manifest_sha256,
        "study and recipe": f"{report.study}, {report.recipe}",
        "exported": report.exported,
        "verified": report.verified,
        "platform": f"{report.platform}, Python {report.python or '(none ran)'}",
        "environment": report.environment or "(none was made)",
        "scores": f"on {report.device}; the stored ones on {stored_on}",
        "tolerance": f"{report.tolerance:g}".replace("e-0", "e-"),
        "time and memory": took,
        "neutral scores": report.neutral or "none",
    }
    about = "\n".join(f"| {name} | {as_text(text)} |" for name, text in facts.items())
    write_text(
        folder / TEXT_NAME,
        f"# Verification of a bundle\n\n{as_text(report.verdict)}\n\n"
        f"| result | check | what it says |\n| --- | --- | --- |\n{rows}\n\n"
        f"| what | value |\n| --- | --- |\n{about}\n\n{_LIMITS}",
    )


def took_told(seconds: float, memory_bytes: int | None) -> str:
    """Return the time and the memory that a run took, in words."""
    memory = "memory that this system does not tell"
    if memory_bytes is not None:
        memory = f"{size(memory_bytes)} of memory at most, all its processes together"
    return f"{duration(seconds)} and {memory}"
