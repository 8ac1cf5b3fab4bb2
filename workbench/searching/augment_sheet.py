"""Contact sheets of augmentations: what a search space can do to a few training samples.

Every picture is made by the functions that training calls.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import torch
from torch import Tensor

from workbench.checks import sheet_drawing as drawing
from workbench.checks.sheet import (
    CLASS_COLOURS,
    ContactSheet,
    classes_of,
    for_people,
    sample_rows,
    save,
)
from workbench.checks.sheet_drawing import INK, Strip, Words
from workbench.checks.thumbnails import is_picture
from workbench.data.prepare import Prepared
from workbench.media.declared import Modality
from workbench.media.view import View
from workbench.parts.augment import Augment, Pictures, Spectrograms, change, mix, with_blends
from workbench.parts.pixels import as_input, to_tensor
from workbench.space.space import SampledConfig, Space

Kind = Literal["pictures", "spectrograms"]
Settings = Sequence[Pictures | Spectrograms]

KINDS: dict[Modality, Kind] = {"picture": "pictures", "spectrogram": "spectrograms"}
"""Which augmentations change views of a modality."""

SEED = 1
"""Of the draws of each row; by this one, those of Mixup and CutMix show many shares."""

MOST_COLUMNS = 8

_CHANCES = frozenset(
    {"self_blend", "hflip", "vflip", "grayscale", "blur", "noise", "rescale", "jpeg", "erase"}
)
_BLENDS = "a fake is a blend of the real sample before it"
_LESS_IS_STRONGER = frozenset({"rescale_to", "jpeg_quality"})
_HINT = (
    "each row alone, at the strongest value that the space can draw",
    "every sample has its own draw up to that value",
    "what happens by chance is shown on every sample, except in the last row",
    "of mixed samples each is of another batch, and its label stands below it",
)


@dataclass(frozen=True)
class SheetRow:
    """What one row of a sheet shows."""

    label: str
    """The augmentation, by the keys of the search space."""

    note: str
    augment: Augment


def write_augment_sheets(space: Space, prepared: Prepared, folder: Path) -> list[ContactSheet]:
    """Write `VIEW.png` for each view of pictures that `space` can draw and change.

    A view of which `prepared` has no training samples gets no sheet. The folder is made if need be.

    Returns:
        The sheets in the order of the views; none where nothing is changed.
    """
    drafts = list(space.corners())
    image_px = max(draft.image_px for draft in drafts)
    read = {name for draft in drafts for name in draft.views}
    sheets = []
    for name, view in prepared.views.items():
        rows = rows_of(drafts, KINDS[view.modality]) if name in read and is_picture(view) else []
        samples = _samples(prepared, name, drawing.whole_grid(MOST_COLUMNS, image_px).columns)
        if rows and len(samples):
            head = [space.file, f"{image_px} px, the largest side that the space can draw"]
            file = folder / f"{name}.png"
            sheets.append(_write(prepared, name, samples, rows, image_px, head, file))
    return sheets


def rows_of(drafts: Sequence[SampledConfig], kind: Kind) -> list[SheetRow]:
    """Return a row for each augmentation of a kind of view that one of `drafts` has, all else off.

    It is at the strongest value that can be drawn, and what happens by chance happens always. If
    there are several, a last row has all at once, by their chances.
    """
    settings: Settings = [getattr(draft.augment, kind) for draft in drafts]
    change_by = type(settings[0])
    fields = change_by.model_fields
    rows = []
    all_changes: dict[str, Any] = {}
    for field, about in fields.items():
        if any(_is_detail(field, other) for other in fields):
            continue
        values = {getattr(each, field) for each in settings}
        for value in _strongest(values, about.default):
            found = {field: values} | _details(settings, field, value)
            drawn = {name: value if name == field else _end(name, found[name]) for name in found}
            all_changes |= drawn
            label = ", ".join(_said(name, one) for name, one in drawn.items())
            shown = drawn | ({field: 1.0} if field in _CHANCES else {})
            changed = Augment.model_validate({kind: change_by.model_validate(shown)})
            notes = [_ranges(found), _BLENDS if field == "self_blend" else ""]
            note = ", ".join(filter(None, notes))
            rows.append(SheetRow(f"augment.{kind}.{label}", note, changed))
    all_mixing: dict[str, Any] = {}
    for field in ("mixup_alpha", "cutmix_alpha"):
        values = {getattr(draft.augment, field) for draft in drafts}
        for value in _strongest(values, 0.0):
            all_mixing[field] = value
            label = f"augment.{_said(field, value)}"
            note = _ranges({field: values})
            rows.append(SheetRow(label, note, Augment.model_validate({field: value})))
    if len(rows) > 1:
        every = {kind: change_by.model_validate(all_changes), **all_mixing}
        note = "each by its own chance"
        rows.append(SheetRow("all at once", note, Augment.model_validate(every)))
    return rows


def _strongest(values: set[Any], off: Any) -> list[Any]:
    """Return the value farthest from `off`; of names, all others; nothing if all are off."""
    on = values - {off}
    if isinstance(off, str):
        return sorted(on)
    return [max(on, key=lambda value: abs(value - off))] if on else []


def _is_detail(name: str, field: str) -> bool:
    """Say whether a field only says how another is done, as `jpeg_quality` does of `jpeg`."""
    return name.startswith(f"{field}_") or name == f"num_{field}s"


def _details(settings: Settings, field: str, value: Any) -> dict[str, set[Any]]:
    """Return the fields that say how `field` is done, each with what can be drawn for it."""
    if value == "trivialaugment":  # it draws its own strength
        return {}
    # A default counts where it takes effect.
    return {
        name: {
            getattr(each, name)
            for each in settings
            if name in each.model_fields_set or getattr(each, field) == value
        }
        for name in type(settings[0]).model_fields
        if _is_detail(name, field)
    }


def _end(name: str, values: set[Any]) -> Any:
    """Return the strongest value of a field that says how another is done."""
    return min(values) if name in _LESS_IS_STRONGER else max(values)


def _said(key: str, value: Any) -> str:
    return f"{key} {value}" if isinstance(value, str) else f"{key} {value:g}"


def _ranges(found: Mapping[str, set[Any]]) -> str:
    """Return from where to where the numbers can be drawn, of those that are not fixed."""
    said = [
        f"{name} {min(values):g} to {max(values):g}"
        for name, values in found.items()
        if len(values) > 1 and not any(isinstance(value, str) for value in values)
    ]
    return f"drawn: {', '.join(said)}" if said else ""


def _samples(prepared: Prepared, name: str, number: int) -> pd.DataFrame:
    """Return up to `number` training files, real and fake in turn."""
    train = prepared.table[prepared.table["split"] == "train"]
    by_class = [
        sample_rows(files, name, number // 2, seed=0) for files in classes_of(train).values()
    ]
    places = zip_longest(*(files.index for files in by_class))
    return train.loc[[place for pair in places for place in pair if place is not None]]


def _write(
    prepared: Prepared,
    name: str,
    samples: pd.DataFrame,
    rows: Sequence[SheetRow],
    image_px: int,
    head: Sequence[str],
    file: Path,
) -> ContactSheet:
    view = prepared.views[name]
    # Of a file with several segments the first, as of a sample with several frames.
    stored = prepared.open_array(name)[samples[f"row.{name}"].to_numpy(), 0]
    x = as_input(to_tensor(stored, image_px, torch.device("cpu")))
    targets = torch.from_numpy(samples["target"].to_numpy(copy=True)).float()
    grid = drawing.whole_grid(len(samples), image_px)

    def drawn(x: Tensor, targets: Tensor, names: Sequence[str]) -> drawing.PillowImage:
        strips = [
            Strip(
                called, [_for_people(view, clip)], CLASS_COLOURS["real" if target < 0.5 else "fake"]
            )
            for clip, target, called in zip(x, targets.tolist(), names, strict=True)
        ]
        return drawing.draw_samples(strips, grid)

    frames, height, width = stored.shape[1:4]
    notes = [f"the first of {frames} frames"] if frames > 1 else []
    if (height, width) != (image_px, image_px):
        notes.append(f"resized from {width} x {height} px")
    images = [
        _legend(),
        _heading("as stored", ", ".join(notes)),
        drawn(x, targets, list(samples["name"])),
    ]
    for row in rows:
        changed, labels = _as_trained(x, targets, view.modality, row.augment)
        is_mixed = row.augment.mixup_alpha > 0 or row.augment.cutmix_alpha > 0
        said = [f"{label:.0%} fake" if is_mixed else "" for label in labels.tolist()]
        images += [_heading(row.label, row.note), drawn(changed, labels, said)]
    shown = classes_of(samples)
    return save(f"augmentations of {name}", file, images, head=head, hint=_HINT, shown=shown)


def _as_trained(
    x: Tensor, targets: Tensor, modality: Modality, augment: Augment
) -> tuple[Tensor, Tensor]:
    """Return the batch and its targets as training changes them.

    Blends, which make a batch longer, stand in the places of fakes. Training mixes a batch by one
    share: to show several, each sample is of another mixing.
    """
    generator = torch.Generator().manual_seed(SEED)
    modalities = {"x": modality}
    views, labels = with_blends({"x": x}, targets, modalities, augment, generator)
    views = change(views, modalities, augment, generator)
    shown = torch.arange(len(x))
    blends, places = torch.arange(len(x), len(labels)), (targets == 1).nonzero()[:, 0]
    shown[places[: len(blends)]] = blends[: len(places)]
    samples, shares = [], []
    for index in shown:
        mixed = mix(views, modalities, augment, generator)
        samples.append(mixed.inputs["x"][index])
        shares.append(labels[mixed.partner].lerp(labels, mixed.share)[index])
    return torch.stack(samples), torch.stack(shares)


def _for_people(view: View, clip: Tensor) -> drawing.Picture:
    """Return the first frame of a clip (frames, channels, height, width) in [0, 1]."""
    levels = (clip[0].movedim(0, -1) * 255).round().to(torch.uint8)
    return for_people(view, levels.numpy())[0]


def _legend() -> drawing.PillowImage:
    words = []
    for kind in ("real", "fake"):
        words += [Words("■ ", CLASS_COLOURS[kind]), Words(f"{kind}     ", INK, is_bold=True)]
    return drawing.text_row(words, size=15, gaps_px=(12, 0))


def _heading(label: str, note: str) -> drawing.PillowImage:
    words = [Words(label, INK, is_bold=True), Words(f"   {note}")]
    return drawing.text_row(words, size=14, gaps_px=(10, 3))
