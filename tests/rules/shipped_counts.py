"""True and thop counts of every backbone that a shipped search space can draw, recorded in a CSV.

`python -m tests.rules.shipped_counts` counts those that have no row, and writes the CSV; delete a
row, or the file, to have it counted again.
"""

import csv
from pathlib import Path

from workbench.files import write_text
from workbench.media.views import AnyView
from workbench.rules.judge import judge_published
from workbench.rules.rulebook import Rulebook
from workbench.space.space import read_space
from workbench.values import kinds

ROOT = Path(__file__).parents[2]
FILE = Path(__file__).with_name("counts_of_shipped.csv")
HEADER = ["backbone", "thop", "true"]
OVER_THE_LIMIT = (
    "dm_nfnet_f3.dm_in1k",
    "dm_nfnet_f4.dm_in1k",
    "dm_nfnet_f5.dm_in1k",
    "dm_nfnet_f6.dm_in1k",
)
"""Beside the shipped: over 200M truly and within it by thop. Of the ImageNet-1K models that timm's
published results have above 150M, these four and no others."""

Counts = tuple[int | None, int]
"""By thop, None where it cannot run the model, and truly: with a head of two classes."""


def shipped_backbones() -> list[str]:
    """Return each backbone that a shipped space can draw, questions to the table answered."""
    views = tuple(kinds(AnyView))
    spaces = [read_space(file, views) for file in sorted((ROOT / "search_spaces").glob("*.yaml"))]
    return sorted({name for space in spaces for name in space.backbones()})


def counted(backbone: str) -> Counts:
    """Return the counts of one model, built without memory."""
    verdict = judge_published(Rulebook(), backbone)
    return verdict.params_thop, verdict.params_true


def recorded() -> dict[str, Counts]:
    """Return the counts that the CSV holds."""
    if not FILE.exists():
        return {}
    with FILE.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    return {name: (int(thop) if thop else None, int(true)) for name, thop, true in rows[1:]}


def undercounts(counts: dict[str, Counts]) -> list[str]:
    """Return the row in docs/rules.md of each model where thop misses over 1%, the worst first."""
    missed = {
        name: 1 - thop / true
        for name, (thop, true) in counts.items()
        if thop is not None and true - thop > 0.01 * true
    }
    rows = []
    for name in sorted(missed, key=lambda name: (-missed[name], name)):
        thop, true = counts[name]
        rows.append(
            f"| `{name}` | {(thop or 0) / 1e6:.1f}M | {true / 1e6:.1f}M | {missed[name]:.1%} |"
        )
    return rows


def main() -> None:
    """Count what has no row, and write the file."""
    known = recorded()
    names = sorted({*shipped_backbones(), *OVER_THE_LIMIT})
    counts = {name: known.get(name) or counted(name) for name in names}
    lines = [
        f"{name},{'' if thop is None else thop},{true}" for name, (thop, true) in counts.items()
    ]
    write_text(FILE, "\n".join([",".join(HEADER), *lines]) + "\n")
    print("\n".join(undercounts(counts)))


if __name__ == "__main__":
    main()
