"""Contact sheets: what real and fake files look like in each view, as one picture a view."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from workbench import pages
from workbench.checks import sheet_drawing as drawing
from workbench.checks.findings import printable
from workbench.checks.sheet_drawing import INK, Picture, PillowImage, Strip, Words
from workbench.checks.sheet_values import draw_values, telling
from workbench.checks.thumbnails import is_picture
from workbench.data.prepare import Prepared
from workbench.errors import DataError
from workbench.files import finished
from workbench.media.view import Array, View
from workbench.tables import counted

CLASS_COLOURS = {"real": "#0072b2", "fake": "#d55e00", "unlabelled": "#5f6b7a"}

MOST_SHOWN = 4_000
"""Files of a class whose values are measured, where a view has values and no pictures."""

_TARGETS = {"real": 0, "fake": 1, "unlabelled": -1}
_STYLE = Path(__file__).with_name("sheet.css")
_GOLDEN = (5**0.5 - 1) / 2


@dataclass(frozen=True)
class ContactSheet:
    """A written sheet."""

    title: str
    file: Path
    size_px: tuple[int, int]
    said: str
    """What the head line and the foot line say."""

    shown: Mapping[str, Sequence[str]]
    """Names of the sampled files by class; of values, none."""

    @property
    def anchor(self) -> str:
        """The place of the sheet on a page."""
        return self.title.replace(" ", "-")


def write_sheets(
    prepared: Prepared,
    folder: Path,
    *,
    per_class: int = 8,
    split: str = "train",
    seed: int = 0,
    more: Sequence[ContactSheet] = (),
) -> list[Path]:
    """Write `VIEW.png` for each view and `index.html`, which shows them one below the other.

    Every sheet samples the same files as far as they are `ok` in its view, evenly over the order
    of the manifest. A view of values shows how those of up to MOST_FILES files a class are spread.

    Args:
        prepared: The data.
        folder: Where the sheets go; it is made if need be.
        per_class: Files of each class in a sheet; of a split without labels, twice as many.
        split: `train`, `val` or `test`.
        seed: Another one takes other files.
        more: Other sheets, written before, that the page shows too.

    Returns:
        The pictures in the order of the views, `more`, then the page.

    Raises:
        DataError: there are no files of that split.
    """
    table = prepared.table[prepared.table["split"] == split]
    if table.empty:
        known = ", ".join(prepared.table["split"].unique())
        raise DataError(f"There are no files of split {split!r}. Choose one of: {known}.")
    sheets = [
        _write_sheet(prepared, name, classes_of(table), folder, per_class=per_class, seed=seed)
        for name in prepared.views
    ]
    sheets += more
    page = folder / "index.html"
    links = [f"<a href='#{escape(sheet.anchor)}'>{escape(sheet.title)}</a>" for sheet in sheets]
    pages.write_page(
        page,
        title=f"Samples of {printable(split)}",
        about=f"Data {prepared.fingerprint} · {counted(len(table), 'file')} · seed {seed}",
        body=[f"<nav>{chr(10).join(links)}</nav>", *map(_section, sheets)],
        style=_STYLE,
    )
    return [*(sheet.file for sheet in sheets), page]


def save(
    title: str,
    file: Path,
    rows: Sequence[PillowImage],
    *,
    head: Sequence[str],
    hint: Sequence[str],
    foot: Sequence[str] = (),
    shown: Mapping[str, pd.DataFrame],
) -> ContactSheet:
    """Write a sheet.

    Args:
        title: Its first line.
        file: Where it goes.
        rows: What it shows.
        head: What is said of it, in soft lines above.
        hint: How to read it, below that.
        foot: What is said below the rows.
        shown: The sampled files by class.
    """
    width_px = max(drawing.MIN_WIDTH_PX, *(row.width for row in rows))
    image = drawing.stacked(
        [
            drawing.text_row([Words(title, INK, is_bold=True)], size=22),
            *drawing.text_rows(head, size=13, width_px=width_px),
            *drawing.text_rows(hint, size=13, width_px=width_px),
            *rows,
            *drawing.text_rows(foot, size=13, width_px=width_px, gap_px=14),
        ]
    )
    with finished(file) as part:
        image.save(part, compress_level=3)  # a third of the time of 6, for 7% more bytes
    names = {kind: list(files["name"]) for kind, files in shown.items()}
    return ContactSheet(title, file, image.size, ", ".join([*head, *foot]), names)


def spread_choice(
    is_usable: npt.NDArray[np.bool_], number: int, *, seed: int
) -> npt.NDArray[np.int64]:
    """Return up to `number` indices of usable files, ascending, evenly spread over their order.

    What is not usable changes only who stands in for it: sheets of different views stay comparable.

    Source:
        Multiples of the golden ratio: the whole numbers whose multiple, less its integer part, lies
        in one interval follow each other at no more than three distances (Slater, "The distribution
        of the integers N for which {θN} < φ", 1950).
    """
    keys = (np.arange(len(is_usable)) * _GOLDEN + np.random.default_rng(seed).random()) % 1
    order = np.argsort(keys, kind="stable")
    return np.sort(order[is_usable[order]][:number])


def left_out(by_class: Mapping[str, pd.DataFrame], view: str) -> list[str]:
    """Return how many files are not `ok` in `view`, then how many of each status and class."""
    status = {kind: rows[f"status.{view}"] for kind, rows in by_class.items()}
    every = pd.concat(list(status.values()))
    counts = every[every != "ok"].value_counts().sort_index()
    total = counted(len(every), "file")
    if counts.empty:
        return [f"Left out: none of {total}"]
    said = [f"Left out: {counts.sum():,} of {total}"]
    for name, number in counts.sort_values(ascending=False, kind="stable").items():
        split_up = [f"{(found == name).sum():,} {kind}" for kind, found in status.items()]
        said.append(f"{number:,} {name}" + (f" ({', '.join(split_up)})" if len(status) > 1 else ""))
    return said


def for_people(view: View, array: Array) -> list[Picture]:
    """Return the pictures of one file's stored `array` as people look at them, each RGB.

    Those of a sound are turned over, low frequencies at the bottom, and a level becomes a colour.
    """
    is_sound = view.modality == "spectrogram"
    pictures = array.reshape(-1, *array.shape[-3:])
    pictures = pictures[:, ::-1] if is_sound else pictures
    if view.shape[-1] == 3:
        return list(pictures)
    levels = pictures[..., 0]
    return list(_heat()[levels] if is_sound else np.repeat(levels[..., None], 3, axis=-1))


def classes_of(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the files `table` of each class; without labels, all as `unlabelled`."""
    kinds = ("real", "fake") if (table["target"] >= 0).any() else ("unlabelled",)
    return {kind: table[table["target"] == _TARGETS[kind]] for kind in kinds}


def _write_sheet(
    prepared: Prepared,
    name: str,
    by_class: Mapping[str, pd.DataFrame],
    folder: Path,
    *,
    per_class: int,
    seed: int,
) -> ContactSheet:
    view = prepared.views[name]
    number = per_class if len(by_class) > 1 else 2 * per_class
    sampled = {
        kind: sample_rows(rows, name, number if is_picture(view) else MOST_SHOWN, seed)
        for kind, rows in by_class.items()
    }
    body = _pictures if is_picture(view) else _values
    rows, hint = body(prepared, name, by_class, sampled)
    settings = view.model_dump(mode="json", exclude={"kind", "version"})
    head, foot = [f"kind {view.kind}", *_flat(settings), _stored(view)], left_out(by_class, name)
    shown = sampled if is_picture(view) else {}
    return save(name, folder / f"{name}.png", rows, head=head, hint=hint, foot=foot, shown=shown)


def sample_rows(rows: pd.DataFrame, view: str, number: int, seed: int) -> pd.DataFrame:
    """Return up to `number` of the files `rows` that are `ok` in `view`, each content once."""
    is_usable = (rows[f"status.{view}"] == "ok") & ~rows["content"].duplicated()
    return rows.iloc[spread_choice(is_usable.to_numpy(), number, seed=seed)]


def _pictures(
    prepared: Prepared,
    name: str,
    by_class: Mapping[str, pd.DataFrame],
    sampled: Mapping[str, pd.DataFrame],
) -> tuple[list[PillowImage], list[str]]:
    """Return the rows of a sheet of pictures, and how to read it."""
    view, array = prepared.views[name], prepared.open_array(name)
    segments, frames, height, width, channels = view.stored_shape
    most = max(1, *(len(files) for files in sampled.values()))
    grid = drawing.grid_for(most, segments * frames, height=height, width=width)
    rows = []
    for kind, files in sampled.items():
        about = f"   {len(files):,} of {counted(len(by_class[kind]), 'file')}"
        rows.append(_heading([kind], [about]))
        if len(files):
            places = zip(files["name"], files[f"row.{name}"], strict=True)
            strips = [
                Strip(called, for_people(view, array[row]), CLASS_COLOURS[kind])
                for called, row in places
            ]
            rows.append(drawing.draw_samples(strips, grid))
    hint = []
    if view.modality == "spectrogram":
        hint += ["time →", "frequency ↑"]
        hint += ["dark: quiet, bright: loud"] if channels == 1 else []
    if segments > 1:
        hint.append(f"{segments} segments of a file side by side")
    if frames > 1:
        hint.append(f"{frames} frames of a file side by side, time →")
    return rows, hint


def _values(
    prepared: Prepared,
    name: str,
    by_class: Mapping[str, pd.DataFrame],
    sampled: Mapping[str, pd.DataFrame],
) -> tuple[list[PillowImage], list[str]]:
    """Return the rows of a sheet of values, and how to read it."""
    view, array = prepared.views[name], prepared.open_array(name)
    measured = {}
    for kind, files in sampled.items():
        if len(files):
            values = np.asarray(array[files[f"row.{name}"].to_numpy()], np.float64)
            measured[kind] = np.nan_to_num(values.mean(axis=1))
    about = [f"   {len(sampled[k]):,} of {counted(len(by_class[k]), 'file')}    " for k in sampled]
    heading = _heading(list(sampled), about)
    if not measured:
        return [heading], []
    names = view.names
    chosen = telling(names, measured)
    picture = drawing.as_image(draw_values(chosen, CLASS_COLOURS, len(names)))
    is_told = chosen[0].separation is not None
    order = "the most telling first" if is_told else "in their order"
    hint = [
        f"{len(chosen)} of {counted(len(names), 'value')}, {order}",
        f"height: share of {'each class' if len(sampled) > 1 else 'the files'}, "
        "the outermost bars with all beyond",
    ]
    hint += ["AUC above 0.5: greater in fakes, below: in reals"] if is_told else []
    return [heading, picture], hint


def _heading(kinds: Sequence[str], about: Sequence[str]) -> PillowImage:
    parts = []
    for kind, said in zip(kinds, about, strict=True):
        parts += [Words("■ ", CLASS_COLOURS[kind]), Words(kind, INK, is_bold=True), Words(said)]
    return drawing.text_row(parts, size=15, gaps_px=(12, 3))


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield each setting with its value, those of parts with a dot."""
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        elif value is not None:
            said = f"{value:.10g}" if isinstance(value, float) else str(value).lower()
            yield f"{prefix}{key} {said}"


def _stored(view: View) -> str:
    axes = ("segments", "frames", "height", "width", "channels")
    names = axes if is_picture(view) else ("segments", "values")
    sizes = " x ".join(map(str, view.stored_shape))
    return f"stored as {np.dtype(view.dtype).name} {sizes} ({' x '.join(names)})"


def _heat() -> npt.NDArray[np.uint8]:
    """Return (256, 3): the colours of levels, evenly lighter to the eye."""
    from matplotlib import colormaps

    return colormaps["magma"](np.arange(256), bytes=True)[:, :3]


def _section(sheet: ContactSheet) -> str:
    """Return the sheet as a part of the page, which holds its pictures itself."""
    data = base64.b64encode(sheet.file.read_bytes()).decode()
    width, height = sheet.size_px
    said = escape(printable(f"{sheet.title}: {sheet.said}"))
    names = "".join(
        f"<li class='is-{kind}'>{escape(printable(name))}</li>"
        for kind, shown in sheet.shown.items()
        for name in shown
    )
    listed = f"<details><summary>Files shown</summary><ul>{names}</ul></details>" if names else ""
    return (
        f"<section id='{escape(sheet.anchor)}'><img alt='{said}' width='{width}' height='{height}' "
        f"src='data:image/png;base64,{data}'>{listed}</section>"
    )
