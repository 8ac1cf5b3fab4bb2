"""Degraded copies of `val`: decoded once and stored like any view, each a prepared data set."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import pandas as pd

from workbench.data.contents import Stamp
from workbench.data.filling import How, Media, decoded
from workbench.data.prepare import Prepared, enter
from workbench.data.view_store import ViewStore
from workbench.degradation.degradations import AND, DEGRADATIONS, content_of
from workbench.errors import ConfigError
from workbench.media.decoders import FILE_LIMIT_S
from workbench.media.view import View

DEGRADED = "degraded"
"""The family of the copies' slices: that of `jpeg30` is `degraded.jpeg30`."""

COPIES = "copies"
"""The family of copies of training files, which are no slices; see `training_copies`."""


def copies_for(names: Iterable[str], views: Mapping[str, View]) -> tuple[str, ...]:
    """Return the copies that slices and families called `names` ask for.

    A copy is called as the degradations that make it, `jpeg30` or `jpeg30_mp3`. The family alone
    stands for one copy, by those that are the default. What no view would notice is left out.

    Raises:
        ConfigError: there is no such degradation, it cannot be made on this machine, or two of a
            copy change the same.
    """
    asked: dict[str, None] = {}
    for name in names:
        family, _, copy = name.partition(".")
        if family == DEGRADED:
            _require_known(copy)
            asked[copy or _default(views)] = None
            for part in _parts(copy):
                DEGRADATIONS[part].require(views.values())
    return tuple(copy for copy in asked if any(_touched(one, views) for one in _parts(copy)))


def _default(views: Mapping[str, View]) -> str:
    names = [each.name for each in DEGRADATIONS.values() if each.is_default]
    return AND.join(name for name in names if _touched(name, views))


def _parts(copy: str) -> list[str]:
    return copy.split(AND) if copy else []


def _require_known(copy: str) -> None:
    parts = _parts(copy)
    for part in parts:
        if part not in DEGRADATIONS:
            raise ConfigError(
                f"The slice '{DEGRADED}.{copy}' asks for the degradation {part!r}, which "
                f"there is not. Choose from {', '.join(DEGRADATIONS)}; to damage picture "
                f"and sound in one copy, join two: {DEGRADED}.jpeg30{AND}mp3."
            )
    if len({bool(DEGRADATIONS[part].of_sound) for part in parts}) < len(parts):
        raise ConfigError(
            f"The slice '{DEGRADED}.{copy}' names two degradations of one medium. Name at "
            "most one of pictures and one of sounds."
        )


def prepare_copies(
    prepared: Prepared,
    names: Iterable[str],
    folder: Path,
    stamps: Mapping[str, Stamp],
    *,
    cache: Path,
    jobs: int,
    limit_s: float = FILE_LIMIT_S,
) -> dict[str, Prepared]:
    """Return the degraded copies of `val`, each by the name of its slice; see `prepare`.

    A view that a degradation does not touch has the rows of the files themselves.

    Args:
        prepared: The files, decoded.
        names: Of copies, see `copies_for`.
        folder: The data folder.
        stamps: See `Manifest.stamps`.
        cache: Folder of the cached arrays.
        jobs: Decoding processes.
        limit_s: Time that one file may take with all of its copies.

    Raises:
        DataError: see `prepare`.
    """
    rows = prepared.rows("val")
    files = rows[["content", "path"]].drop_duplicates("content")
    paths = dict(zip(files["content"], files["path"], strict=True))
    names = tuple(names)
    parts = dict.fromkeys(part for name in names for part in _parts(name))
    copies = {part: _touched(part, prepared.views) for part in parts}
    stores = {
        view: ViewStore(cache, prepared.views[view])
        for view in dict.fromkeys(view for views in copies.values() for view in views)
    }
    if not stores:
        return {}
    media = Media(folder, paths, stamps, copies)
    outcomes = decoded(stores, media, How(jobs=jobs, limit_s=limit_s), cache=cache)
    found = {}
    for name in names:
        contents = {part: _contents(rows, part) for part in _parts(name)}
        table = rows.assign(
            content=["+".join(each) for each in zip(*contents.values(), strict=True)]
        )
        for part, of_part in contents.items():
            for view in copies[part]:
                enter(table, view, [outcomes[view][content] for content in of_part])
        found[f"{DEGRADED}.{name}"] = replace(prepared, table=table, beside={})
    return found


def _contents(rows: pd.DataFrame, degradation: str) -> list[str]:
    return [content_of(content, degradation) for content in rows["content"]]


def _touched(name: str, views: Mapping[str, View]) -> tuple[str, ...]:
    """Return the views that a degradation changes, by their names."""
    return tuple(view for view, each in views.items() if DEGRADATIONS[name].touches(each))
