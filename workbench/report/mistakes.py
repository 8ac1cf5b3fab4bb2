"""The most confident mistakes of the chosen trial, to be looked at and listened to."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import pandas as pd
import torch

from workbench import pages
from workbench.data.prepared_table import read_prepared_table
from workbench.errors import DataError, MediaError, WorkbenchError
from workbench.fence import DiedError, TimedOutError
from workbench.gate import within
from workbench.media.decoders import decoders
from workbench.media.excerpts import DURATION_S, Excerpt, excerpt
from workbench.report.cells import number_cell, table, word_cell
from workbench.scoring.frame_scores import frames_of, score_frames
from workbench.selection.leaderboard import shorten
from workbench.selection.mistakes import Mistake, mistakes_by_slice, worst_mistakes
from workbench.selection.registration import load_trained
from workbench.selection.slice_values import CLEAN, ScoresByTrial
from workbench.selection.summary import Summary
from workbench.study.folder import StudyFolder
from workbench.study.slice_folders import slice_folders

MOST_EXCERPTS = 6
MOST_BYTES = 3 << 20
"""Of all excerpts of a page: what is over it is named alone."""

MOST_ROWS = 40
"""Rows of the table of slices."""

_LIMIT_S = 20.0
"""For one file: a page is not worth waiting longer."""


def mistakes_section(folder: StudyFolder, summary: Summary, scores: ScoresByTrial) -> str:
    """Return the most confident mistakes of the first contender; nothing where it made none.

    The data folder may be gone.
    """
    if not summary.contenders:
        return ""
    own = scores[summary.contenders[0].number]
    shown = worst_mistakes(own, MOST_EXCERPTS, slice_folders(folder))
    if not shown:
        return ""
    files = _files(folder, shown)
    played = _excerpts(files)
    frames = frames_told(folder, summary.contenders[0].recipe, files)
    figures, num_bytes = [], 0
    for one in shown:
        found: Excerpt | str = f"a file of the folder of {one.source}"
        if one.source == CLEAN:
            found = played.get(one.name, "the file is not there any more")
        if isinstance(found, Excerpt):
            num_bytes += len(found.data)
            if num_bytes > MOST_BYTES:
                found = "left out, for the page would grow too large"
        told = frames.get(one.name, "") if one.source == CLEAN else ""
        figures.append(_figure(one, found, told))
    note = (
        f"Of {summary.contenders[0].title}: files on the wrong side of 0.5, the surest "
        f"first, from each slice in turn. Of a video or a sound, the first {DURATION_S:g} seconds."
    )
    body = f"<div class='mistakes'>\n{chr(10).join(figures)}\n</div>{_by_slice(own)}"
    return pages.section("Most confident mistakes", body, note=note)


def frames_told(folder: StudyFolder, recipe: str, files: Mapping[str, Path]) -> dict[str, str]:
    """Return the score of each frame of files with its second, in words, by the files' names.

    Nothing where the trial's model sees no several frames, or is not there any more.
    """
    trial = folder.trial(recipe)
    try:
        spec = trial.read_recipe().model
        if not files or not frames_of(spec.views):
            return {}
        model = load_trained(trial, spec, f"trial {recipe}").eval()
    except WorkbenchError:
        return {}
    cpu = torch.device("cpu")
    scored = score_frames(spec, model, list(files.values()), device=cpu, limit_s=_LIMIT_S)
    return {
        name: ", ".join(f"{second:.1f} s {score:.2f}" for second, score in found)
        for name, found in zip(files, scored, strict=True)
        if not isinstance(found, MediaError)
    }


def _figure(one: Mistake, found: Excerpt | str, frames: str) -> str:
    said = f"{'fake' if one.target else 'real'}, scored {one.score:.3f}"
    if isinstance(found, Excerpt):
        shown = pages.player(found.mime, found.data, one.name)
    else:
        shown = f"<p class='note'>{escape(found)}</p>"
    slices = [name for name in one.slices if name != CLEAN]
    more = f"<br>{escape(', '.join(shorten(name, 40) for name in slices[:4]))}" if slices else ""
    by_frame = f"<br>its frames alone: {frames}" if frames else ""
    caption = f"<b>{said}</b>{by_frame}<br>{escape(shorten(one.name, 80))}{more}"
    return f"<figure>{shown}<figcaption>{caption}</figcaption></figure>"


def _by_slice(scores: pd.DataFrame) -> str:
    found = mistakes_by_slice(scores)
    if scores["slice"].nunique() < 2:
        return ""
    header = ("slice", "files", "fakes missed", "false alarms", "surest mistake", "its score")
    lines = [
        [
            word_cell(one.slice),
            number_cell(one.num_files, "d"),
            number_cell(one.num_missed, "d"),
            number_cell(one.num_alarms, "d"),
            word_cell(one.worst.name),
            number_cell(one.worst.score, ".4f"),
        ]
        for one in found[:MOST_ROWS]
    ]
    return table(header, lines, words=("slice", "surest mistake"))


def _files(folder: StudyFolder, shown: Sequence[Mistake]) -> dict[str, Path]:
    """Return where the files of `val` lie that are known for sure, by their names."""
    try:
        prepared = read_prepared_table(folder.manifest, ["split", "name", "path", "target"])
    except WorkbenchError:
        return {}
    labelled = prepared[prepared["target"] >= 0]
    in_val = labelled[labelled["split"] == CLEAN]
    known = in_val if len(in_val) else labelled.drop_duplicates("name", keep=False)
    paths = dict(zip(known["name"], known["path"], strict=True))
    media = Path(folder.info().data)
    found = {}
    for one in shown:
        if one.name in paths and one.source == CLEAN:
            try:
                found[one.name] = within(media, paths[one.name], what="media file", kind=DataError)
            except WorkbenchError:
                continue
    return {name: path for name, path in found.items() if path.is_file()}


def _excerpts(files: Mapping[str, Path]) -> dict[str, Excerpt | str]:
    """Return an excerpt of each file, or why there is none."""
    if not files:
        return {}
    found: dict[str, Excerpt | str] = {}
    with decoders(min(2, len(files)), limit_s=_LIMIT_S) as fence:
        waiting = {name: fence.submit(excerpt, path) for name, path in files.items()}
        for name, future in waiting.items():
            try:
                found[name] = future.result()
            except (TimedOutError, DiedError, MemoryError):
                found[name] = "it takes too much to be shown here"
            except WorkbenchError as error:
                found[name] = str(error)
            except Exception as error:  # noqa: BLE001 (decoders and encoders raise anything)
                found[name] = f"it cannot be shown ({type(error).__name__})"
    return found
