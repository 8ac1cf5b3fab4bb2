"""What tables and an experiment file say by now, held against what a study was begun with."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from pydantic import TypeAdapter

from workbench.data.columns import Columns
from workbench.data.data_files import list_data
from workbench.data.dataset import read_experiment_tree
from workbench.data.delimited import quoted, raw_cells, read_delimited
from workbench.data.labels import read_template
from workbench.data.layout import first_named
from workbench.data.manifest import changes
from workbench.data.prepared_table import read_prepared_table
from workbench.errors import CacheError, ConfigError, DamagedFileError, DataError, StudyError
from workbench.space.experiment import Experiment
from workbench.study.folder import StudyFolder
from workbench.tables import counted
from workbench.validation import shown

_LABELLED = "labelled"
_NOTHING = object()
"""In the place of a value that is not there."""

_DECIDES: tuple[Literal["rulebook", "objective", "constraints"], ...] = (
    "rulebook",
    "objective",
    "constraints",
)
"""The parts of an experiment that decide among trials, and over what may be handed in."""


def told_since_begun(folder: StudyFolder) -> str:
    """Return in sentences what the tables and the experiment file of a study say otherwise now.

    A search refuses to go on so. What trains again, promotes or exports goes by what the study
    was begun with, and says it.
    """
    said = [sentence_on_changed_experiment(folder), sentence_on_changed_tables(folder)]
    template = sentence_on_changed_template(folder)
    if template and not any(said):  # else a search refuses to go on
        command = "train" if folder.is_of_recipe() else "search"
        template += f" `workbench {command}` with the same options takes the new one."
    return " ".join(filter(None, [*said, template]))


def sentence_on_changed_experiment(folder: StudyFolder) -> str:
    """Return a sentence if the experiment file has another rulebook, objective or constraints.

    Empty if not, or where the file is gone, or is none.
    """
    try:
        info, about = folder.info(), folder.experiment()
        file = folder.path.parents[1] / info.experiment
        if not file.is_file():
            return ""
        tree = read_experiment_tree(file)
        found = [
            line
            for part in _DECIDES
            for line in differences(_as_json(part, getattr(about, part)), _read(part, tree), part)
        ]
    except (ConfigError, DamagedFileError, StudyError, ValueError, OSError):
        return ""  # who searches by it is told what is wrong with it
    if not found:
        return ""
    more = f"; and {len(found) - 1} more" if len(found) > 1 else ""
    return (
        f"{info.experiment} is not what the study {folder.name} was begun with ({found[0]}{more}). "
        "The study goes by what it was begun with; for the other, start another study by "
        "--study NAME."
    )


def differences(was: object, now: object, key: str = "") -> Iterator[str]:
    """Yield each key of a tree whose value is another than before, with both."""
    if isinstance(was, dict) and isinstance(now, dict):
        for name in {**was, **now}:
            values = was.get(name, _NOTHING), now.get(name, _NOTHING)
            yield from differences(*values, f"{key}.{name}" if key else str(name))
    elif was != now:
        old, new = ("not there" if one is _NOTHING else shown(one) for one in (was, now))
        yield f"`{key}` was {old}, is {new}"


def _read(part: str, tree: dict[Any, Any]) -> Any:
    """Return a part of an experiment file as JSON; by default what an experiment has of it."""
    field = Experiment.model_fields[part]
    if part not in tree:
        return _as_json(part, field.get_default(call_default_factory=True))
    return _as_json(part, TypeAdapter(field.rebuild_annotation()).validate_python(tree[part]))


def _as_json(part: str, value: Any) -> Any:
    adapter: TypeAdapter[Any] = TypeAdapter(Experiment.model_fields[part].rebuild_annotation())
    return adapter.dump_python(value, mode="json")


def sentence_on_changed_tables(folder: StudyFolder) -> str:
    """Return a sentence if tables name other labels or files now than those of a study.

    No media are read. Empty if nothing changed, or where the data folder cannot be read.
    """
    try:
        data, about = Path(folder.info().data), folder.experiment()
        if not (folder.manifest.exists() and data.is_dir()):
            return ""
        now = list_data(data, about.data).table
        was = read_prepared_table(folder.manifest)
    except (CacheError, DamagedFileError, StudyError, DataError, OSError):
        return ""  # what needs the data itself says why it cannot have them
    # By its path: files of two folders that were dealt into one split are called by it.
    was, now = (
        table[table["split"].isin(("train", "val", "test"))].assign(name=table["path"])
        for table in (was, now)
    )
    # Where the split of a file is not its table's, it was dealt.
    if about.validation.kind != "given" or about.holdout is not None:
        was, now = _undealt(was), _undealt(now)
    if about.holdout is not None:  # a share of the labelled files may be locked away
        known = now["name"].isin(was.loc[was["split"] == _LABELLED, "name"])
        now = now[known | (now["split"] != _LABELLED)]
    found = changes(was.assign(content=""), now.assign(content=""))
    if not found:
        return ""
    return (
        f"The tables in {data} are not those that the study {folder.name} was begun with "
        f"({found}). All that it trains, scores and exports is of those; for these, start another "
        "study by --study NAME."
    )


def _undealt(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(split=table["split"].where(table["split"] == "test", _LABELLED))


def sentence_on_changed_template(folder: StudyFolder) -> str:
    """Return a sentence if the template in the data folder differs from that of a study.

    What stands in the cells of scores does not count. Empty, too, where the program made the
    template, or where either cannot be read.
    """
    try:
        data, layout = Path(folder.info().data), folder.experiment().data
        if not layout.template:
            return ""
        path = first_named(data, layout, "template")
        was, now = (_without_scores(one, layout.columns) for one in (folder.template, path))
    except (DamagedFileError, StudyError, DataError, OSError):
        return ""  # what needs it says why it cannot have it
    if not (what := _differing(was, now)):
        return ""
    return (
        f"The template {path} is not the one that the study {folder.name} has kept ({what}); the "
        "study's is filled in."
    )


@dataclass(frozen=True)
class _Blank:
    """A template without what stands in its cells of scores."""

    header: list[str]
    names: list[str]
    rows: list[list[str]]
    text: tuple[bytes, str, str, list[tuple[list[str], str]]]
    """As written: mark, encoding, separator, and of each row its cells with quotes, and its end."""


def _without_scores(path: Path, columns: Columns) -> _Blank:
    template, plain = read_template(path, columns, may_be_empty=True), read_delimited(path)
    at = [*template.table.columns].index(template.score_column)
    rows = template.table.drop(columns=template.score_column).to_numpy().tolist()
    written = []
    for number, (record, end) in enumerate(plain.records_and_ends()):
        cells = raw_cells(record, plain.separator)
        written.append((cells[:at] + cells[at + bool(number) :], end))
    text = plain.mark, plain.codec, plain.separator, written
    return _Blank([*template.table.columns], template.names.tolist(), rows, text)


def _differing(was: _Blank, now: _Blank) -> str:
    """Return in words what differs between two templates; empty if nothing does."""
    found = []
    if was.header != now.header:
        found.append("another header")
    if sorted(was.names) != sorted(now.names):
        found.append("other names")
    elif was.names != now.names:
        found.append("another order of rows")
    known = {tuple(row) for row in was.rows}
    others = [
        name for name, row in zip(now.names, now.rows, strict=True) if tuple(row) not in known
    ]
    if others and not {*found} & {"another header", "other names"}:  # which are other cells, too
        found.append(f"other cells in {counted(len(others), 'row')}, e.g. of {quoted(others[0])}")
    if not found and was.text != now.text:
        found.append("written otherwise: encoding, separator, quotes or line ends")
    return ", ".join(found)
