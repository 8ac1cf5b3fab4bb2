"""What is searched in the benchmark: tasks whose trials are looked up instead of trained."""

import statistics
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol

from tests.benchmarks.search.demo_table import (
    AUGMENTS,
    FROM_SCRATCH,
    OPTIMIZERS,
    PRETRAINED,
    RATES,
    VIEW_SETS,
    Curve,
    Key,
    files_of,
    grid,
    read_probes,
    read_table,
    tree_of,
)
from workbench.parts.augment import Augment
from workbench.space.space import SampledConfig
from workbench.validation import build

Asked = SampledConfig
"""A recipe, with or without the data it is for: the same choices."""


_AUGMENTS: list[Augment] = [build(Augment, tree, where="grid") for tree in AUGMENTS]


class Seen(NamedTuple):
    """The epochs of one trial."""

    observed: tuple[float, ...]
    """The objective of each epoch, noise and all."""

    worth: tuple[float, ...]
    """What the weights of each epoch are worth: without noise, or on files that nobody chose by."""


class Task(Protocol):
    """A space, what its recipes give, and what they cost."""

    @property
    def name(self) -> str:
        """What the table calls it."""

    @property
    def tree(self) -> dict[str, Any]:
        """The search space."""

    def seen(self, asked: Asked) -> Seen:
        """Return the epochs of a recipe, the same ones whenever it is trained."""

    def cost(self, asked: Asked) -> float:
        """Return what one epoch costs."""

    def probe(self, backbone: str, views: tuple[str, ...]) -> float:
        """Return what the screening says of a backbone."""

    def screening_cost(self) -> float:
        """Return what the screening of all backbones costs, in the unit of `cost`."""

    def known(self) -> list[SampledConfig]:
        """Return recipes that a person would try first."""


@dataclass(frozen=True)
class TableTask:
    """The tables of `demo_table`: real trainings on a data set; the cost is CPU time."""

    name: str
    rows: dict[Key, Curve]
    probes: dict[tuple[str, str], float]

    @property
    def tree(self) -> dict[str, Any]:
        rates = {
            kind: [lr for name, lr in RATES if name == kind and self._has(kind, lr)]
            for kind in OPTIMIZERS
        }
        return {
            **tree_of(next(grid())),
            "views": {"choice": [list(names) for names in VIEW_SETS]},
            "backbone": {"choice": [*PRETRAINED, *FROM_SCRATCH]},
            "pretrained": "none",  # the table knows which start from what
            "optimizer": {
                "choice": [
                    {**OPTIMIZERS[kind], "lr": {"choice": lrs}}
                    for kind, lrs in rates.items()
                    if lrs
                ]
            },
            "augment": {"choice": list(AUGMENTS)},
        }

    def seen(self, asked: Asked) -> Seen:
        row = self.rows[_key(asked)]
        return Seen(row.val, row.test)

    def cost(self, asked: Asked) -> float:
        return self._costs["+".join(asked.views), asked.backbone_label]

    def probe(self, backbone: str, views: tuple[str, ...]) -> float:
        return self.probes[backbone, "+".join(views)]

    def screening_cost(self) -> float:
        # A view's features are computed once; the largest set holds them all.
        both = "+".join(VIEW_SETS[-1])
        return sum(self._costs[both, name] for name in (*PRETRAINED, *FROM_SCRATCH)) / 3

    @cached_property
    def _costs(self) -> dict[tuple[str, str], float]:
        return _medians(self.rows)

    def known(self) -> list[SampledConfig]:
        usual = Key("+".join(VIEW_SETS[-1]), PRETRAINED[0], *RATES[0], 0)
        return [build(SampledConfig, {**tree_of(usual), "pretrained": "none"}, where="known")]

    def _has(self, optimizer: str, lr: float) -> bool:
        return any((key.optimizer, key.lr) == (optimizer, lr) for key in self.rows)


def _medians(rows: Mapping[Key, Curve]) -> dict[tuple[str, str], float]:
    """Return the median epoch of views and backbones: the machine had other work too."""
    epochs = defaultdict[tuple[str, str], list[float]](list)
    for key, row in rows.items():
        epochs[key.views, key.backbone] += row.cpu_s
    return {which: statistics.median(times) for which, times in epochs.items()}


def _key(asked: Asked) -> Key:
    return Key(
        "+".join(asked.views),
        asked.backbone_label,
        asked.optimizer.kind,
        asked.optimizer.lr,
        _AUGMENTS.index(asked.augment),
    )


def table_task(name: str) -> TableTask | None:
    """Return the task of a data set's tables, if one learning rate of it is whole."""
    files = files_of(name)
    rows = read_table(files.table)
    if not rows:
        return None
    return TableTask(f"{name} table", rows, read_probes(files.probes))
