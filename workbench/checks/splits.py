"""How the splits are made up: their classes, and how large and long their files are."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from workbench.checks.findings import Finding, finding
from workbench.values import Frozen

_SHARES_APART, _ERRORS_APART = 0.15, 3
_BINS = 40
_CLASSES = {0: "real", 1: "fake", -1: "unlabelled"}


class SplitCount(Frozen):
    """What one split holds."""

    split: str
    num_files: int
    """Rows, whether their file is there or not."""

    num_fake: int
    num_real: int
    num_absent: int
    """Rows whose file is missing or empty."""


class Distribution(Frozen):
    """How one quantity is spread in each split and class."""

    quantity: str
    unit: str
    edges: tuple[float, ...]
    """Ends of the bins, ascending; equally wide on a logarithmic scale."""

    counts: Mapping[str, tuple[int, ...]]
    """Files in each bin, by split and class, e.g. `train fake`."""

    medians: Mapping[str, float]


def count_splits(table: pd.DataFrame) -> list[SplitCount]:
    """Return what each split of the manifest's table holds."""
    return [
        SplitCount(
            split=str(split),
            num_files=len(rows),
            num_fake=int((rows["target"] == 1).sum()),
            num_real=int((rows["target"] == 0).sum()),
            num_absent=int((rows["status"] != "ok").sum()),
        )
        for split, rows in table.groupby("split", sort=False)
    ]


def balance_findings(counts: Sequence[SplitCount]) -> Iterator[Finding]:
    """Yield what is to be said where train and val differ much in their share of fakes."""
    by_split = {count.split: count for count in counts if count.num_fake + count.num_real}
    if not {"train", "val"} <= by_split.keys():
        return
    train, val = by_split["train"], by_split["val"]
    sizes = [count.num_fake + count.num_real for count in (train, val)]
    shares = [train.num_fake / sizes[0], val.num_fake / sizes[1]]
    pooled = (train.num_fake + val.num_fake) / sum(sizes)
    error = (pooled * (1 - pooled) * (1 / sizes[0] + 1 / sizes[1])) ** 0.5
    gap = abs(shares[0] - shares[1])
    if gap > _SHARES_APART and gap > _ERRORS_APART * error:
        yield finding(
            "class_balance_differs",
            "warning",
            f"{shares[0]:.0%} of train and {shares[1]:.0%} of val are fake: probabilities and "
            "thresholds learnt on one are wrong on the other.",
            "Choose by the AUC, which does not depend on the balance, or draw train's classes in "
            "the balance expected at test.",
        )


def distributions(files: pd.DataFrame, facts: pd.DataFrame) -> list[Distribution]:
    """Return how sizes, durations and pictures' sizes are spread, where they are known.

    `files` are rows of the manifest whose file is there. Facts go by content.
    """
    said = facts.reindex(files["content"])
    quantities = {("file size", "kB"): files["size_bytes"].to_numpy(np.float64) / 1000}
    for column, quantity, unit in (
        ("duration_s", "duration", "s"),
        ("bit_rate", "bit rate", "kbit/s"),
    ):
        if column in said:
            values = pd.to_numeric(said[column], errors="coerce").to_numpy(np.float64)
            quantities[quantity, unit] = values / (1000 if unit == "kbit/s" else 1)
    groups = files["split"] + " " + files["target"].map(_CLASSES)
    found = []
    for (quantity, unit), values in quantities.items():
        is_known = np.isfinite(values) & (values > 0)
        if is_known.any():
            found.append(_distribution(quantity, unit, values[is_known], groups[is_known]))
    return found


def _distribution(
    quantity: str, unit: str, values: "np.typing.NDArray[np.float64]", groups: "pd.Series[str]"
) -> Distribution:
    low, high = float(values.min()), float(values.max())
    if low == high:
        low, high = low / 1.1, high * 1.1
    edges = np.geomspace(low, high, _BINS + 1)
    edges[0], edges[-1] = low, high  # the powers are rounded, and the extremes must lie inside
    parts = {str(name): values[groups.to_numpy() == name] for name in groups.unique()}
    return Distribution(
        quantity=quantity,
        unit=unit,
        edges=tuple(edges.tolist()),
        counts={name: tuple(np.histogram(part, edges)[0].tolist()) for name, part in parts.items()},
        medians={name: float(np.median(part)) for name, part in parts.items()},
    )
