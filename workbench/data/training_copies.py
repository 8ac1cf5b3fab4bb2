"""Copies of training files, degraded or forged: decoded once and stored like any view."""

import hashlib
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from workbench.data.contents import Stamp
from workbench.data.degraded import COPIES
from workbench.data.filling import How, Media, decoded
from workbench.data.out_of_fold import FOLD
from workbench.data.prepare import Prepared, enter
from workbench.data.view_store import NEUTRAL_ROW, ViewStore
from workbench.degradation.degradations import AND, CHANGES, DAMAGES, FORGERIES, REAL_OF, content_of
from workbench.media.decoders import FILE_LIMIT_S
from workbench.media.sound_view import SoundView
from workbench.media.view import View


def copies_name(forgery: str, damage: str) -> str:
    """Return the name of the copies that are forged and damaged so; "" is not at all."""
    return f"{COPIES}.{AND.join(filter(None, [forgery, damage]))}"


class _Kind(NamedTuple):
    """Copies of one kind."""

    table: pd.DataFrame
    """Of their files, with the class that a copy has."""

    made: Mapping[str, list[str]]
    """For each view that they change, the copy of each file; see `degradations.content_of`."""


def prepare_training_copies(
    prepared: Prepared,
    forgeries: Collection[str],
    damages: Collection[str],
    folder: Path,
    stamps: Mapping[str, Stamp],
    *,
    cache: Path,
    jobs: int,
) -> dict[str, Prepared]:
    """Return the copies of the files of `train`, by `copies_name`; a row's content is its file's.

    Its content settles which degradations a file gets, and which other file goes into it: a real
    one of the same fold, so that nothing of a held-out file is in a copy.

    Args:
        prepared: The files, decoded.
        forgeries: What is done to real files; a forged copy is of the class fake. There are copies
            of what is learned beside them too, see `REAL_OF`.
        damages: What is done to all files, forged ones among them; see `DAMAGES`.
        folder: The data folder.
        stamps: See `Manifest.stamps`.
        cache: Folder of the cached arrays.
        jobs: Decoding processes.

    Raises:
        ConfigError: one of them cannot be made on this machine.
        DataError: see `prepare.prepare`.
    """
    for name in (*forgeries, *(name for damage in damages for name in DAMAGES[damage])):
        CHANGES[name].require(prepared.views.values())
    rows = prepared.rows("train")
    partners = partners_of(rows, prepared.views)
    kinds: dict[str, _Kind] = {}
    views_of: defaultdict[str, dict[str, None]] = defaultdict(dict)
    made_of: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for forgery in ("", *forgeries, *(REAL_OF[each].name for each in forgeries if each in REAL_OF)):
        table = rows
        if forgery:
            table = rows[forgeable(forgery, rows, prepared.views, partners)]
        if forgery in FORGERIES:
            table = table.assign(target=1)
        for damage in ("", *damages):
            made = _made(prepared.views, table["content"], forgery, damage)
            if not made:
                continue
            kinds[copies_name(forgery, damage)] = _Kind(table, made)
            for view, copies in made.items():
                for content, copy in zip(table["content"], copies, strict=True):
                    views_of[copy][view] = None
                    is_of_two = bool(forgery) and CHANGES[forgery].of_two
                    made_of[copy][content] = partners[content] if is_of_two else ""
    changed = dict.fromkeys(view for views in views_of.values() for view in views)
    if not changed:
        return {}
    stores = {view: ViewStore(cache, prepared.views[view]) for view in changed}
    paths = dict(zip(rows["content"], rows["path"], strict=True))
    media = Media(folder, paths, stamps, {c: [*v] for c, v in views_of.items()}, made_of)
    outcomes = decoded(stores, media, How(jobs=jobs, limit_s=FILE_LIMIT_S), cache=cache)
    found = {}
    for name, kind in kinds.items():
        table = kind.table.copy()
        for view, copies in kind.made.items():
            called = [
                content_of(content, copy, made_of[copy][content])
                for content, copy in zip(table["content"], copies, strict=True)
            ]
            enter(table, view, [outcomes[view][content] for content in called])
        found[name] = replace(prepared, table=table, beside={})
    return found


def _made(
    views: Mapping[str, View], contents: "pd.Series[str]", forgery: str, damage: str
) -> dict[str, list[str]]:
    """Return the copy of each content that each view sees; without the views that see no change.

    A copy that no view of the forgery sees is none: nothing would tell it from what is real.
    """
    if forgery and not any(CHANGES[forgery].touches(view) for view in views.values()):
        return {}
    if not len(contents):
        return {}
    made = {}
    for name, view in views.items():
        is_sound = isinstance(view, SoundView)
        alike = [each for each in views.values() if isinstance(each, SoundView) == is_sound]
        possible = DAMAGES[damage] if damage else ()
        fitting = [name for name in possible if all(map(CHANGES[name].touches, alike))]
        first = forgery if forgery and CHANGES[forgery].touches(view) else ""
        if first or fitting:
            numbers = [_number(f"{content} {is_sound}") for content in contents]
            drawn = [fitting[number % len(fitting)] if fitting else "" for number in numbers]
            made[name] = [AND.join(filter(None, (first, each))) for each in drawn]
    return made


def forgeable(
    forgery: str, rows: pd.DataFrame, views: Mapping[str, View], partners: Mapping[str, str]
) -> "pd.Series[bool]":
    """Return which files can be forged so: real ones of which there is a view that it changes."""
    if not CHANGES[forgery].of_pictures:
        return rows["content"].isin(partners)
    seen = [f"row.{name}" for name, view in views.items() if CHANGES[forgery].touches(view)]
    return (rows["target"] == 0) & (rows[seen] != NEUTRAL_ROW).any(axis=1)


def partners_of(rows: pd.DataFrame, views: Mapping[str, View]) -> dict[str, str]:
    """Return each content that can be forged, with that which goes into it; each goes into one.

    Args:
        rows: Training files. Those are forged that are real and of whose sound there is a view.
        views: By name.
    """
    sounds = [f"row.{name}" for name, view in views.items() if isinstance(view, SoundView)]
    real = rows[(rows["target"] == 0) & (rows[sounds] != NEUTRAL_ROW).any(axis=1)]
    found: dict[str, str] = {}
    for _, rows in real.groupby(FOLD) if FOLD in real else [(0, real)]:
        contents = sorted(set(rows["content"]), key=lambda content: _number(f"{content} partner"))
        if len(contents) > 1:
            found |= dict(zip(contents, contents[1:] + contents[:1], strict=True))
    return found


def _number(text: str) -> int:
    return int(hashlib.sha256(text.encode()).hexdigest()[:12], 16)
