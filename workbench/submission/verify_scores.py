"""Predictions held against the stored ones: row by row, cell by cell, score by score."""

import math
from collections.abc import Collection, Sequence
from pathlib import Path

from workbench.data.delimited import quoted
from workbench.errors import BundleError
from workbench.submission.contents import Contents
from workbench.submission.predictions import PredictionSheet, read_sheet

CPU_TOLERANCE = 1e-5
"""How far a score may be from the stored one where both are computed on a CPU."""

DEVICE_TOLERANCE = 1e-3
"""The same where one of them is computed on another device, whose kernels add up otherwise."""


def tolerance_of(stored_on: str, device: str) -> float:
    """Return how far a score may be from the stored one.

    Args:
        stored_on: What computed the stored ones: `cpu` or the name of a GPU; empty if unknown.
        device: The torch device that computes now.
    """
    is_cpu = stored_on in ("", "cpu") and device.partition(":")[0] == "cpu"
    return CPU_TOLERANCE if is_cpu else DEVICE_TOLERANCE


def read_predictions(path: Path, contents: Contents) -> PredictionSheet:
    """Return predictions of a bundle, or of a run of it."""
    columns = contents.name_column, contents.score_column
    return read_sheet(path, name_column=columns[0], score_column=columns[1])


def compare_rows(stored: PredictionSheet, found: PredictionSheet) -> str:
    """Return what is the same but for the scores, in a sentence.

    Raises:
        BundleError: something is not.
    """
    if len(stored.rows) != len(found.rows):
        raise BundleError(f"{len(found.rows)} rows were written in place of {len(stored.rows)}.")
    if (stored.head, stored.mark, stored.codec) != (found.head, found.mark, found.codec):
        raise BundleError("The header, its encoding or its line end is another one.")
    for number, (one, other) in enumerate(zip(stored.rows, found.rows, strict=True), 1):
        if one != other:
            raise BundleError(
                f"Row {number}, {quoted(stored.names[number - 1])}, differs beside its score."
            )
    return f"{len(stored.rows)} rows, equal byte by byte but for the scores"


def compare_scores(
    stored: PredictionSheet,
    found: PredictionSheet,
    tolerance: float,
    neutral: Collection[str] = (),
) -> str:
    """Return how near the scores are, in a sentence.

    `neutral` are names of files that were scored as neutral pictures or silence.

    Raises:
        BundleError: one is no number from 0 to 1, or further away than `tolerance`.
    """
    wanted, values = _numbers(stored), _numbers(found)
    away = [abs(value - other) for value, other in zip(values, wanted, strict=True)]
    if not away:
        raise BundleError("There is not a single score.")
    worst = max(range(len(away)), key=away.__getitem__)
    far = [name for name, apart in zip(stored.names, away, strict=True) if apart > tolerance]
    if far:
        read = sum(name in neutral for name in far)
        why = f" Of {read} of them nothing could be decoded when they were scored." if read else ""
        raise BundleError(
            f"{len(far)} of {len(away)} scores differ by over {_short(tolerance)}, the most that "
            f"of {quoted(stored.names[worst])}: {values[worst]:.6f} in place of "
            f"{wanted[worst]:.6f}.{why}"
        )
    if not away[worst]:
        return f"{len(away)} scores, equal to the last digit"
    most = _short(away[worst])
    return f"{len(away)} scores differ by {most} at most; {_short(tolerance)} is allowed"


def _short(number: float) -> str:
    return f"{number:.0e}".replace("e-0", "e-")


def _numbers(sheet: PredictionSheet) -> Sequence[float]:
    numbers = []
    for name, cell in zip(sheet.names, sheet.scores, strict=True):
        try:
            value = float(cell)
        except ValueError:
            value = math.nan
        if not 0 <= value <= 1:
            raise BundleError(f"The score of {quoted(name)} is {quoted(cell)}, no probability.")
        numbers.append(value)
    return numbers
