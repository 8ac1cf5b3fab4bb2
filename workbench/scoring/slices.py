"""Slices: the named parts of the data that a model is scored on.

A slice belongs to a family, and its name is `family` or `family.value`. To add a kind of them,
write a function from the prepared data to its families, and name it in `_KINDS`. It yields a family
also where these data have no slice of it: so a search knows the name, and can say why.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import pandas as pd

from workbench.data.degraded import COPIES, DEGRADED
from workbench.data.delimited import shown_cell
from workbench.data.metadata import ORIGINAL, PICTURE_FAKE, SOUND_FAKE, Metadata, column_of
from workbench.data.out_of_fold import FOLD
from workbench.data.prepare import Prepared
from workbench.errors import ConfigError
from workbench.tables import counted

TEST = "test"
"""The slice whose labels nobody has: what a submission predicts."""

CLUSTERS = "clusters"
"""The family of the fakes whose features are alike."""

CLUSTER = "cluster"
"""Column of the prepared table: the number of the cluster that a fake of `val` is in, from 1 on; 0
of all other files."""

GENERATORS = "generators"
"""The family of what made the fakes."""

LEAST_OF_CLASS = 10
"""Files of each class that a slice by a column needs. With ten of each, an AUC of 0.8 has a
standard error of 0.10 (Hanley and McNeil 1982); with fewer, the worst of several slices would be
the one with the worst luck."""

_MOST_LETTERS = 40
"""Of a value in a slice's name: MLflow takes 250 for a metric's."""


@dataclass(frozen=True, eq=False)
class Slice:
    """Some files of prepared data, under a name."""

    name: str
    prepared: Prepared
    """Slices of the same one share the scores of their files."""

    rows: pd.DataFrame
    """Those of the files in the prepared table."""

    is_labelled: bool = True


@dataclass(frozen=True, eq=False)
class SliceFamily:
    """Slices that an objective may name together."""

    name: str
    slices: tuple[Slice, ...] = ()
    """Called as the family, or `family.value`; empty where the data have none."""

    note: str = ""
    """What a person should know: why there is none, or which files are in none; a sentence."""


def _splits(prepared: Prepared) -> Iterator[SliceFamily]:
    """Yield what the data's own labels hold out, and the files without labels."""
    yield SliceFamily("val", (Slice("val", prepared, prepared.rows("val")),))
    test = Slice(TEST, prepared, prepared.rows("test"), is_labelled=False)
    yield SliceFamily(TEST, (test,))


def _by_generator(prepared: Prepared) -> Iterator[SliceFamily]:
    """Yield each generator's fakes of `val` against all of its reals."""
    column = prepared.metadata.generator
    yield _by_column(GENERATORS, prepared, column, reals_of_all=True)


def _by_group(prepared: Prepared) -> Iterator[SliceFamily]:
    """Yield the files of `val` of each speaker, or whatever a column has."""
    for column in prepared.metadata.groups:
        yield _by_column(_plain(column), prepared, column, reals_of_all=False)


def _beside(prepared: Prepared) -> Iterator[SliceFamily]:
    """Yield degraded copies of `val`, and other labelled folders."""
    families: dict[str, list[Slice]] = {DEGRADED: []}
    for name, other in prepared.beside.items():
        part = Slice(name, other, other.rows("val"))
        if (family := name.partition(".")[0]) != COPIES:
            families.setdefault(family, []).append(part)
    for name, parts in families.items():
        note = "" if parts else f"No {name}: no copy that was asked for differs in these views."
        yield SliceFamily(name, tuple(parts), note)


def _by_cluster(prepared: Prepared) -> Iterator[SliceFamily]:
    """Yield each cluster of the fakes of `val` against all reals."""
    rows = prepared.rows("val")
    if CLUSTER not in rows:
        yield SliceFamily(CLUSTERS, note=f"No {CLUSTERS}: the fakes of val were not clustered.")
        return
    numbers, real = rows[CLUSTER], rows["target"] == 0
    slices = [
        Slice(
            f"{CLUSTERS}.{number}",
            prepared,
            rows[(numbers == number) | real].reset_index(drop=True),
        )
        for number in range(1, int(numbers.max()) + 1)
    ]
    note = "" if slices else f"No {CLUSTERS}: val has too few fakes."
    yield SliceFamily(CLUSTERS, tuple(slices), note)


_KINDS: tuple[Callable[[Prepared], Iterator[SliceFamily]], ...] = (
    _splits,
    _by_generator,
    _by_group,
    _by_cluster,
    _beside,
)


def families_of(prepared: Prepared) -> dict[str, SliceFamily]:
    """Return every family that the data have or could have, by its name.

    Raises:
        ConfigError: two have one name.
    """
    found: dict[str, SliceFamily] = {}
    for family in (family for kind in _KINDS for family in kind(prepared)):
        if family.name in found:
            raise ConfigError(
                f"Two families of slices would be called {family.name!r}. Name another column by "
                "`groups` under `data`, or rename it in the tables."
            )
        found[family.name] = family
    return found


def slices_of(prepared: Prepared) -> dict[str, Slice]:
    """Return every slice of the data, by its name."""
    families = families_of(prepared).values()
    return {part.name: part for family in families for part in family.slices}


def labelled_slices(prepared: Prepared, names: Iterable[str]) -> list[Slice]:
    """Return the slices that an objective is measured on.

    A family stands for all of its slices. One that these data have none of is left out, and
    `slice_notes` says so.

    Raises:
        ConfigError: a name is that of no slice and of no family, or of one without labels; or all
            of them are left out.
    """
    names, families = tuple(names), families_of(prepared)
    found: dict[str, Slice] = {}
    for name in names:
        family = families.get(name.partition(".")[0])
        parts = [p for p in family.slices if name in (p.name, family.name)] if family else []
        labelled = [part for part in parts if part.is_labelled]
        if not labelled and (family is None or family.slices):
            why = "has no labels" if parts else "is no slice of the data"
            raise ConfigError(
                f"`objective.over` names {name!r}, which {why}. Choose from "
                f"{', '.join(_nameable(families.values()))}."
            )
        found |= {part.name: part for part in labelled}
    if not found:
        notes = " ".join(slice_notes(prepared, names))
        raise ConfigError(
            f"`objective.over` names {', '.join(names)}, and these data have no such slice. "
            f"{notes} Name `val` too."
        )
    return list(found.values())


def scored_by(part: Slice, fold: int) -> Slice:
    """Return the files of a slice that the model scores which was trained without a fold.

    They are those of that fold. What is in none, such as the test files, the first model scores.
    """
    if FOLD not in part.rows:
        return part if fold == 1 else replace(part, rows=part.rows.iloc[:0])
    return replace(part, rows=part.rows[part.rows[FOLD] == fold].reset_index(drop=True))


def measured_slices(prepared: Prepared, names: Iterable[str], fold: int) -> list[Slice]:
    """Return the slices that the epochs of one fold's training are measured on.

    Of several folds, one may hold a single class of a slice, or none of it: there it is left out.

    Args:
        prepared: The data.
        names: Of slices and families; see `labelled_slices`.
        fold: The place of the fold, from 1 on.

    Raises:
        ConfigError: as `labelled_slices`; or all of them are left out.
    """
    parts = [scored_by(part, fold) for part in labelled_slices(prepared, names)]
    if prepared.num_folds == 1:
        return parts
    whole = [part for part in parts if part.rows["target"].nunique() == 2]
    if not whole:
        raise ConfigError(
            f"Fold {fold} of the {prepared.num_folds} that validate holds no slice of "
            "`objective.over` with both classes. Name `val` too, or use fewer `folds`."
        )
    return whole


def columns_used(
    metadata: Metadata, names: Iterable[str], *, mixed: bool = False
) -> tuple[str, ...]:
    """Return the metadata columns that a study's numbers depend on.

    They are those that slices and families called `names` are of, and those that trainings read:
    of which file a fake was made, where fakes are `mixed` with their originals.
    """
    of_family = {_plain(column): column for column in metadata.groups}
    of_family[GENERATORS] = metadata.generator
    asked = dict.fromkeys(name.partition(".")[0] for name in names)
    read = (SOUND_FAKE, PICTURE_FAKE, *([ORIGINAL] if mixed else []))
    return (*(of_family[name] for name in asked if name in of_family), *read)


def num_files(slices: Iterable[Slice]) -> int:
    """Return how many files the slices have, each counted once: so many are scored."""
    files = {
        (id(p.prepared), *key)
        for p in slices
        for key in zip(p.rows["split"], p.rows["name"], strict=True)
    }
    return len(files)


def slice_notes(prepared: Prepared, names: Iterable[str]) -> list[str]:
    """Return a sentence for each family that `names` names and that is not what one may expect."""
    families = families_of(prepared)
    asked = dict.fromkeys(name.partition(".")[0] for name in names)
    return [families[name].note for name in asked if name in families and families[name].note]


def _nameable(families: Iterable[SliceFamily]) -> list[str]:
    """Return what `objective.over` may name: families, and the slices of those with several."""
    names: dict[str, None] = {}
    for family in families:
        labelled = [part.name for part in family.slices if part.is_labelled]
        names |= dict.fromkeys([family.name, *labelled] if labelled else [])
    return list(names)


def _by_column(family: str, prepared: Prepared, column: str, *, reals_of_all: bool) -> SliceFamily:
    """Return a slice of `val` for each value of a metadata column that has enough files.

    The other values are one slice together, where they are enough and there are slices beside it.

    Args:
        family: The family's name.
        prepared: The data.
        column: The metadata column.
        reals_of_all: Whether a value's fakes stand against all reals; else against those of it.
    """
    rows = prepared.rows("val")
    if column_of(column) not in rows:
        return SliceFamily(
            family, note=f"No {family}: the data's tables have no column `{column}`."
        )
    values, fake = rows[column_of(column)], rows["target"] == 1

    def files_of(some: Iterable[str]) -> "pd.Series[bool]":
        of_value = values.isin(list(some))
        return (of_value & fake) | ~fake if reals_of_all else of_value

    known = sorted(set(values[fake] if reals_of_all else values) - {""})
    large = [value for value in known if _is_enough(fake[files_of([value])])]
    small = [value for value in known if value not in large]
    if not large:
        least = f"{LEAST_OF_CLASS} real and {LEAST_OF_CLASS} fake files"
        note = f"No {family}: no value of `{column}` has {least} in val."
        return SliceFamily(family, note=note)
    parts, note = [files_of([value]) for value in large], ""
    *names, other = _distinct_names([*large, "other"])
    if small:
        together = _is_enough(fake[files_of(small)])
        if together:
            names, parts = [*names, other], [*parts, files_of(small)]
        which = f"{len(small)} more values" if len(small) > 1 else "one more value"
        where = f"together they are {family}.{other}" if together else "they are in no slice of it"
        note = (
            f"{family}: `{column}` has {which} (e.g. {shown_cell(small[0])}) with fewer than "
            f"{LEAST_OF_CLASS} files of a class in val: {where}."
        )
    # Of such files nothing would tell that a bad score of theirs counts nowhere.
    if unsaid := int(((values == "") & (fake | (not reals_of_all))).sum()):
        files = counted(unsaid, "fake" if reals_of_all else "file")
        said = f"{family}: the tables say no `{column}` of {files} of val, so no slice has them."
        note = f"{note} {said}".strip()
    slices = [
        Slice(f"{family}.{name}", prepared, rows[mask].reset_index(drop=True))
        for name, mask in zip(names, parts, strict=True)
    ]
    return SliceFamily(family, tuple(slices), note)


def _is_enough(fake: "pd.Series[bool]") -> bool:
    return min(int(fake.sum()), int((~fake).sum())) >= LEAST_OF_CLASS


def _distinct_names(values: Iterable[str]) -> list[str]:
    """Return a name for each value that MLflow and file systems take, no two alike."""
    names: list[str] = []
    for value in values:
        plain, number = _plain(value), 1
        name = plain
        while name.casefold() in (taken.casefold() for taken in names):
            number += 1
            name = f"{plain}-{number}"
        names.append(name)
    return names


def _plain(text: str) -> str:
    """Return `text` with letters, digits, `_` and `-` alone."""
    return re.sub(r"[^\w-]+", "_", text.strip()).strip("_")[:_MOST_LETTERS] or "unnamed"
