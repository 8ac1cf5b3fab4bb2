"""The most confident mistakes of a trial: files on the wrong side of 0.5, the surest first."""

from collections.abc import Collection

import pandas as pd

from workbench.data.degraded import DEGRADED
from workbench.selection.slice_values import CLEAN
from workbench.values import Frozen


class Mistake(Frozen):
    """One file that a model is wrong about."""

    name: str
    target: int
    """1 is fake."""

    score: float
    slices: tuple[str, ...]
    """The slices that it is in, degraded copies left out."""

    source: str = CLEAN
    """The slice whose folder it lies in, where that is no file of `val`."""


class SliceMistakes(Frozen):
    """The mistakes on one slice."""

    slice: str
    num_files: int
    num_missed: int
    """Fakes that were called real."""

    num_alarms: int
    """Real files that were called fake."""

    worst: Mistake


def worst_mistakes(scores: pd.DataFrame, most: int, folders: Collection[str] = ()) -> list[Mistake]:
    """Return the most confident mistakes, of each slice in turn.

    So that one hard slice does not take all places: the surest mistake of each slice, those with
    the surest first, then the second of each, until there are `most`. Degraded copies are left out.

    Args:
        scores: Labelled scores: `slice`, `name`, `score`, `target`.
        most: Files to return.
        folders: Slices with files of their own, which may be called as others of `val` are.
    """
    found = _mistakes(scores, folders)
    parts = _in_turn(scores)
    queues = [[one for one in found if part in one.slices] for part in parts]
    chosen: dict[tuple[str, str, int], Mistake] = {}
    depth = max(map(len, queues), default=0)
    for at in range(depth):
        turn = sorted((queue[at] for queue in queues if at < len(queue)), key=_order)
        for one in turn:
            if len(chosen) < most:
                chosen.setdefault((one.source, one.name, one.target), one)
    return sorted(chosen.values(), key=_order)


def mistakes_by_slice(scores: pd.DataFrame) -> list[SliceMistakes]:
    """Return the mistakes on each slice that has any, the slice with the largest share first."""
    found = []
    for name, part in scores.groupby("slice", sort=False):
        wrong = _wrong(part)
        if len(wrong):
            first = _ordered(wrong).iloc[0]
            worst = Mistake(
                name=first["name"],
                target=int(first["target"]),
                score=float(first["score"]),
                slices=(str(name),),
            )
            missed = int((wrong["target"] == 1).sum())
            found.append(
                SliceMistakes(
                    slice=str(name),
                    num_files=len(part),
                    num_missed=missed,
                    num_alarms=len(wrong) - missed,
                    worst=worst,
                )
            )
    return sorted(found, key=lambda one: -(one.num_missed + one.num_alarms) / one.num_files)


def _mistakes(scores: pd.DataFrame, folders: Collection[str]) -> list[Mistake]:
    """Return every mistake once, the surest first."""
    clean = scores[~scores["slice"].str.startswith(f"{DEGRADED}.")]
    wrong = _ordered(_wrong(clean))
    wrong = wrong.assign(source=wrong["slice"].where(wrong["slice"].isin(list(folders)), CLEAN))
    found = []
    for _, rows in wrong.groupby(["source", "name", "target"], sort=False):
        first = rows.iloc[0]
        found.append(
            Mistake(
                name=first["name"],
                target=int(first["target"]),
                score=float(first["score"]),
                slices=tuple(dict.fromkeys(rows["slice"])),
                source=first["source"],
            )
        )
    return found


def _in_turn(scores: pd.DataFrame) -> list[str]:
    """Return the slices that take turns: the parts of `val`, or where it has none, all."""
    names = [n for n in scores["slice"].unique().tolist() if not n.startswith(f"{DEGRADED}.")]
    return [name for name in names if name != CLEAN] or names


def _wrong(scores: pd.DataFrame) -> pd.DataFrame:
    return scores[(scores["score"] >= 0.5) != (scores["target"] == 1)]


def _ordered(scores: pd.DataFrame) -> pd.DataFrame:
    sure = (scores["score"] - 0.5).abs()
    return (
        scores.assign(sure=sure)
        .sort_values(["sure", "name"], ascending=[False, True], kind="stable")
        .drop(columns="sure")
    )


def _order(one: Mistake) -> tuple[float, str]:
    return -abs(one.score - 0.5), one.name
