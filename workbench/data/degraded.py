"""Degraded copies of `val`: decoded once and stored like any view, each a prepared data set."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from workbench.data.contents import Stamp
from workbench.data.filling import How, Media, decoded
from workbench.data.prepare import Prepared, enter
from workbench.data.view_store import ViewStore
from workbench.degradation.degradations import DEGRADATIONS, content_of
from workbench.errors import ConfigError
from workbench.media.decoders import FILE_LIMIT_S
from workbench.media.view import View

DEGRADED = "degraded"
"""The family of the copies' slices: that of `jpeg30` is `degraded.jpeg30`."""


def copies_for(names: Iterable[str], views: Mapping[str, View]) -> tuple[str, ...]:
    """Return the degradations that slices and families called `names` ask for.

    The family alone stands for those that are made by default. One that no view would notice is
    left out.

    Raises:
        ConfigError: there is no such degradation.
    """
    asked: dict[str, None] = {}
    for name in names:
        family, _, copy = name.partition(".")
        if family != DEGRADED:
            continue
        if copy and copy not in DEGRADATIONS:
            raise ConfigError(
                f"There is no slice {name!r}. Name {DEGRADED} or of these: "
                f"{', '.join(f'{DEGRADED}.{known}' for known in DEGRADATIONS)}."
            )
        by_default = [each.name for each in DEGRADATIONS.values() if each.is_default]
        asked |= dict.fromkeys([copy] if copy else by_default)
    return tuple(copy for copy in asked if _touched(copy, views))


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
        names: Of degradations.
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
    copies = {name: _touched(name, prepared.views) for name in names}
    stores = {
        view: ViewStore(cache, prepared.views[view])
        for view in dict.fromkeys(view for views in copies.values() for view in views)
    }
    if not stores:
        return {}
    media = Media(folder, paths, stamps, copies)
    outcomes = decoded(stores, media, How(jobs=jobs, limit_s=limit_s), cache=cache)
    found = {}
    for name, views in copies.items():
        table = rows.assign(content=[content_of(content, name) for content in rows["content"]])
        for view in views:
            enter(table, view, [outcomes[view][content] for content in table["content"]])
        found[f"{DEGRADED}.{name}"] = replace(prepared, table=table, beside={})
    return found


def _touched(name: str, views: Mapping[str, View]) -> tuple[str, ...]:
    """Return the views that a degradation changes, by their names."""
    return tuple(view for view, each in views.items() if DEGRADATIONS[name].touches(each))
