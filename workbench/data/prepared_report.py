"""What is said of prepared data: what became of its files, and what it lacks."""

import numpy as np

from workbench.data.delimited import shown_cell
from workbench.data.manifest import unread_told
from workbench.data.prepare import Prepared
from workbench.errors import DataError
from workbench.tables import text_table


def describe_prepared(prepared: Prepared) -> list[str]:
    """Return a line for each view and kind of trouble or note: how many files, and an example."""
    lines = []
    for name in prepared.views:
        bad = prepared.table[prepared.table[f"status.{name}"] != "ok"]
        for status, rows in bad.groupby(f"status.{name}"):
            example = f"{rows['path'].iloc[0]}: {rows[f'reason.{name}'].iloc[0]}"
            lines.append(
                f"{name}: {_files(len(rows))} {status}, e.g. {shown_cell(example, most=300)}"
            )
    return lines + remarks(prepared)


def remarks(prepared: Prepared) -> list[str]:
    """Return a line for each split that is not measured whole, and for each note on what is ok."""
    lines = _left_out_of_scores(prepared)
    for name in prepared.views:
        status, reason = prepared.table[f"status.{name}"], prepared.table[f"reason.{name}"]
        noted = prepared.table[(status == "ok") & (reason != "")]
        for note, rows in noted.groupby(f"reason.{name}"):
            said = f"{_files(len(rows))} ok with a note, e.g. {rows['path'].iloc[0]}: {note}"
            lines.append(f"{name}: {said}")
    return lines


def _left_out_of_scores(prepared: Prepared) -> list[str]:
    lines = []
    lost = prepared.left_out()
    for split, rows in lost[lost["split"] != "train"].groupby("split", sort=False):
        num_all = int((prepared.table["split"] == split).sum())
        lines.append(
            f"{split}: {num_all - len(rows)} of {num_all} files are measured; {len(rows)} of which "
            f"no view could be made ({(rows['target'] == 1).sum()} fake) are left out of every "
            f"score, e.g. {shown_cell(rows['path'].iloc[0])}"
        )
    return lines


def _files(number: int) -> str:
    return f"{number} file{'' if number == 1 else 's'}"


def prepared_as_table(prepared: Prepared) -> str:
    """Return a table for a terminal: of each view, how many files ended how."""
    status = {name: prepared.table[f"status.{name}"] for name in prepared.views}
    seen = sorted(set().union(*status.values()) - {"ok"})
    header = ["view", "array of one file", "files", "ok", *seen]
    rows = []
    for name, view in prepared.views.items():
        counts = status[name].value_counts()
        shape = " x ".join(map(str, view.stored_shape))
        numbers = [len(status[name]), *(counts.get(key, 0) for key in ("ok", *seen))]
        rows.append([name, f"{np.dtype(view.dtype).name} {shape}", *map(str, numbers)])
    return text_table(header, rows)


def require_all(prepared: Prepared) -> None:
    """Raise DataError if any file ended with another status than `ok`; they were named before."""
    table = prepared.table
    bad = np.logical_or.reduce([table[f"status.{name}"] != "ok" for name in prepared.views])
    if num_bad := table.loc[bad, "path"].nunique():
        raise DataError(
            f"{_files(num_bad)} could not be decoded as asked, and --strict allows none. "
            "Repair what is named above, take it out of the tables, or run without "
            "--strict."
        )


def require_read(prepared: Prepared) -> None:
    """Raise DataError if a labelled file could not be read for now, here or in data beside these.

    It may be read the next time, and then trials of one study were held against one another on
    unlike files.
    """
    for data in (prepared, *prepared.beside.values()):
        rows = data.table[data.table["split"] != "test"]
        unread = {name: rows[f"status.{name}"] == "unreadable" for name in data.views}
        if not (num := int(np.logical_or.reduce([*unread.values()]).sum())):
            continue
        name = next(name for name, those in unread.items() if those.any())
        first = rows[unread[name]].iloc[0]
        why = shown_cell(str(first[f"reason.{name}"]), most=200)
        raise DataError(unread_told(num, f"{shown_cell(first['path'])}: {why}"))


def require_classes(prepared: Prepared) -> None:
    """Raise DataError if a labelled split lacks a class among the files that are looked at."""
    out = prepared.left_out()
    for split, lost in out.groupby("split", sort=False):
        rows = prepared.rows(str(split))
        counts = [int((rows["target"] == target).sum()) for target in (0, 1)]
        if not all(counts):
            first = lost.iloc[0]
            reason = shown_cell(str(first[f"reason.{next(iter(prepared.views))}"]), most=200)
            raise DataError(
                f"Of the {len(rows) + len(lost)} files of {split}, {counts[0]} real and "
                f"{counts[1]} fake can be decoded, and both classes are needed (e.g. "
                f"{shown_cell(first['path'])}: {reason}). Get the files, or choose views "
                "that they have."
            )
