"""Which files of a holdout an audit may score: those that chose nothing of what it is about."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from workbench.checks.known_copies import near_copies_of, near_copies_within
from workbench.data.degraded import COPIES, DEGRADED
from workbench.data.delimited import shown_cell
from workbench.data.facts import FactsStore
from workbench.data.holdout import HOLDOUT
from workbench.data.manifest import Manifest
from workbench.data.metadata import column_of, loosely
from workbench.data.prepare import Prepared
from workbench.data.rows import UNKNOWN
from workbench.data.view_store import NEUTRAL_ROW
from workbench.errors import DataError, StudyError
from workbench.study.folder import StudyFolder
from workbench.study.looks import Look
from workbench.study.packs import PackFolder
from workbench.tables import counted


def of_other_studies(folder: StudyFolder, uid: str) -> list[Prepared]:
    """Return the data of the other studies that a pack has members of; none of a trial.

    Raises:
        StudyError: one is gone, so nobody can tell what its trials were measured on.
    """
    files = folder.model(uid)
    members = files.read_pack().members if isinstance(files, PackFolder) else ()
    found = []
    for name in sorted({member.study for member in members} - {folder.name}):
        if not (other := folder.path.parent / name).is_dir():
            raise StudyError(
                f"The pack has members of the study {name}, which is gone, so nothing tells "
                f"whether files of the holdout chose them. Put {other} back, or promote another "
                "model."
            )
        found.append(Prepared.load(other))
    return found


def without_copies(manifest: Manifest, searched: Sequence[Prepared]) -> tuple[Manifest, int]:
    """Return the manifest without copies of labelled files of studies, and how many there were.

    Those of slices that are folders of their own count too: trials were measured on them.
    """
    tables = [one.table for own in searched for one in (own, *own.beside.values())]
    seen = pd.concat([table[["target", "content"]] for table in tables])
    known = set(seen.loc[seen["target"] >= 0, "content"]) - {""}
    is_copy = manifest.table["content"].isin(known)
    left = manifest.table[~is_copy].reset_index(drop=True)
    return replace(manifest, table=left), int(is_copy.sum())


def counted_once(manifest: Manifest) -> tuple[Manifest, int]:
    """Return the manifest with one of the files that are the same, and how many others there were.

    That whose path is the first stays, so that it is the same holdout in whatever order its table
    is. Files that are not there have no content, and are no copies of each other.
    """
    table = manifest.table.sort_values("path", kind="stable")
    is_copy = table["content"].where(table["content"] != "", table["path"]).duplicated()
    left = table[~is_copy].sort_index().reset_index(drop=True)
    return replace(manifest, table=left), int(is_copy.sum())


def require_both_classes(manifest: Manifest) -> None:
    """Refuse files of a holdout of which those that are there hold one class.

    Raises:
        DataError: they do.
    """
    there = manifest.table[manifest.table["status"] == "ok"]
    if there["target"].nunique() < 2:
        raise DataError(
            f"The holdout needs real and fake files that no split and no slice has: {len(there)} "
            f"are there, of {there['target'].nunique()} classes. Add files, or correct `holdout`."
        )


def of_shared_files(
    manifest: Manifest, held: Prepared, searched: Sequence[Prepared], facts: FactsStore
) -> list[str]:
    """Return a sentence on each way in which files of the holdout are no new ones, one by one."""
    return [
        *of_known_groups(manifest, searched),
        *of_near_copies(held, searched, facts),
        *of_near_copies_within(held, facts),
    ]


def of_known_groups(manifest: Manifest, searched: Sequence[Prepared]) -> list[str]:
    """Return a sentence for each column of groups that files of the holdout share, or lack.

    A model can know a speaker by heart: what it scores on others of their files is no value for
    new ones. A search warns of `val` alike.
    """
    said, held = [], manifest.table
    for name in manifest.metadata.groups:
        column = column_of(name)
        num_unknown = len(held)
        if column in held:
            num_unknown = int((held[column].fillna("") == "").sum())
        if num_unknown:
            said.append(
                f"Of {num_unknown:,} of its {counted(len(held), 'file')} no {shown_cell(name)} is "
                "known: each counts by itself, so that the interval may be too narrow."
            )
        tables = [one.table for one in _with_folders(searched) if column in one.table]
        if column not in held or not tables:
            continue
        every = {*pd.concat([table.loc[table["target"] >= 0, column] for table in tables])} - {""}
        known = {*map(loosely, every)}  # `1.0` and `spk 1` may be those that are `1` and `SPK_1`
        own = held[column].fillna("")
        if number := int(((own != "") & own.map(loosely).isin(known)).sum()):
            said.append(
                f"{number:,} of its {counted(len(held), 'file')} are of a {shown_cell(name)} that "
                "was trained or chosen on, which a model can know by heart: on others expect less."
            )
    return said


def of_near_copies(held: Prepared, searched: Sequence[Prepared], facts: FactsStore) -> list[str]:
    """Return a sentence on files of the holdout that look and sound the same as those of studies.

    They count: no program can say for sure. The data check, which warns of such files in two
    splits, knows nothing of a holdout.
    """
    rows = held.rows(HOLDOUT)
    found: dict[str, str] = {}
    for own in _with_folders(searched):
        known = own.table[(own.table["target"] >= 0) & (own.table["status"] == "ok")]
        said = facts.table({*rows["content"], *known["content"]})
        found = near_copies_of(held, rows, own, known, said) | found
    if not found:
        return []
    one, other = map(shown_cell, next(iter(found.items())))
    return [
        f"{counted(len(found), 'file')} of its {len(rows):,} look and sound the same as files that "
        f"were trained or chosen on (e.g. {one} as {other}), which a model can know by heart: on "
        "others expect less."
    ]


def of_near_copies_within(held: Prepared, facts: FactsStore) -> list[str]:
    """Return a sentence on files of the holdout that look and sound the same as others of it.

    Like those of studies, they count.
    """
    rows = held.rows(HOLDOUT)
    found = near_copies_within(held, rows, facts.table(rows["content"]))
    if not found:
        return []
    one, other = map(shown_cell, next(iter(found.items())))
    return [
        f"{counted(len(found), 'file')} of its {len(rows):,} look and sound the same as others of "
        f"it (e.g. {one} as {other}); each counts, so the interval may be too narrow."
    ]


def scored_as(prepared: Prepared) -> str:
    """Return a fingerprint of the holdout's files that are scored, and of the arrays of each.

    It is another one where a file can be decoded now that could not be before, or not any more, or
    where it is decoded to other pixels or sound.
    """
    rows = prepared.rows(HOLDOUT)
    sums = [
        rows[f"sum.{view}"].where(rows[f"row.{view}"] != NEUTRAL_ROW, UNKNOWN)
        for view in sorted(prepared.views)
    ]
    lines = sorted(map(repr, zip(rows["content"], *(each.tolist() for each in sums), strict=True)))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def of_other_files(looks: Sequence[Look], fingerprint: str) -> list[str]:
    """Return a sentence on former looks at other files or labels than those of now."""
    others = [look.holdout for look in looks if look.holdout != fingerprint]
    if not others:
        return []
    were = "1 was" if len(others) == 1 else f"{len(others):,} were"
    return [
        f"Of {counted(len(looks), 'look')} before, {were} at other files or labels (holdout "
        f"{', '.join(dict.fromkeys(others))}), and nothing is compared with what they told."
    ]


def _with_folders(searched: Sequence[Prepared]) -> list[Prepared]:
    """Return the data of studies, and the slices of each that are folders of their own.

    Copies of a study's own files are left out, which are beside them.
    """
    folders = [
        part
        for own in searched
        for name, part in own.beside.items()
        if name.partition(".")[0] not in (DEGRADED, COPIES)
    ]
    return [*searched, *folders]


def labelled_files(table: pd.DataFrame) -> set[tuple[str, int, str]]:
    """Return path, label and content of each labelled file."""
    rows = table[table["target"] >= 0]
    return set(zip(rows["path"], rows["target"], rows["content"], strict=True))
