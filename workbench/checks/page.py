"""One offline HTML page of a checkup: findings first, then the numbers behind them."""

import base64
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from workbench import pages
from workbench.checks.checkup import Checkup
from workbench.checks.findings import Finding, printable
from workbench.checks.saturation import CEILING_AUC
from workbench.checks.shift import SHIFT_AUC
from workbench.checks.shortcuts import SHORTCUT_AUC
from workbench.checks.thumbnails import grey, is_picture
from workbench.data.prepare import Prepared
from workbench.data.view_store import NEUTRAL_ROW
from workbench.tables import counted

_STYLE = Path(__file__).with_name("page.css")
# Groups of copies that are shown as pictures, files of a group, and the side of a picture.
_SHOWN_GROUPS, _SHOWN_FILES, _SHOWN_PX = 12, 4, 112

TableRows = Mapping[str, Mapping[Any, Any]]
"""The rows of the prepared table by path."""


def write_checks_page(checkup: Checkup, path: Path, *, title: str, prepared: Prepared) -> None:
    """Write the page, `title` at its head; it holds everything it shows and loads nothing."""
    kind = "Short checkup" if checkup.is_short else "Checkup"
    pages.write_page(
        path,
        title=f"Data of {printable(title)}",
        about=(
            f"{kind} · data {checkup.fingerprint} · "
            f"{'views ' if len(checkup.views) > 1 else 'view '}{', '.join(checkup.views)}"
        ),
        body=[_cards(checkup), *_findings(checkup, prepared), *_sections(checkup)],
        style=_STYLE,
        has_plots=True,
    )


def _cards(checkup: Checkup) -> str:
    warnings = checkup.num_warnings
    cards = [
        ("warnings", f"{warnings}"),
        ("notes", f"{len(checkup.findings) - warnings}"),
        *((f"files in {split.split}", f"{split.num_files:,}") for split in checkup.splits),
    ]
    if checkup.probes:
        cards.append(("linear probe, AUC on val", f"{checkup.probes[0].auc:.3f}"))
    return pages.cards((label, value, "") for label, value in cards)


def _findings(checkup: Checkup, prepared: Prepared) -> list[str]:
    if not checkup.findings:
        said = "No copies, no rows without media, no shortcut above the limit. The numbers follow."
        return [pages.callout("good", "nothing found", f"<p>{said}</p>")]
    table = prepared.table.drop_duplicates("path")
    rows = dict(zip(table["path"], table.to_dict("records"), strict=True))
    return [_finding(finding, prepared, rows) for finding in checkup.findings]


def _finding(finding: Finding, prepared: Prepared, rows: TableRows) -> str:
    body = f"<p>{escape(finding.sentence)}</p><p class='remedy'>{escape(finding.remedy)}</p>"
    if any(len(group) > 1 for group in finding.files):
        shown = [_group(group, prepared, rows) for group in finding.files[:_SHOWN_GROUPS]]
        body += f"<div class='pairs'>{''.join(shown)}</div>"
    if finding.files:
        lines = "".join(f"<li>{escape(' = '.join(group))}</li>" for group in finding.files)
        part = len(finding.files), finding.num_groups
        said = f"the first {part[0]:,} of {part[1]:,}" if part[0] < part[1] else f"all {part[1]:,}"
        body += f"<details><summary>Files ({said})</summary><ul>{lines}</ul></details>"
    return pages.callout(finding.severity, finding.severity, body)


def _group(group: Sequence[str], prepared: Prepared, rows: TableRows) -> str:
    figures = []
    for path in group[:_SHOWN_FILES]:
        if path not in rows:  # a name that had to be made printable
            continue
        row = rows[path]
        kind = {0: "real", 1: "fake"}.get(row["target"], "unlabelled")
        said = f"<strong>{escape(str(row['split']))}, {kind}</strong><br>{escape(path)}"
        images = "".join(
            f"<img alt='{escape(view)}' src='data:image/jpeg;base64,{data}'>"
            for view, data in _pictures(prepared, row)
        )
        figures.append(f"<figure><div>{images}</div><figcaption>{said}</figcaption></figure>")
    rest = len(group) - _SHOWN_FILES
    more = f"<span class='more'>and {rest:,} more</span>" if rest > 0 else ""
    return f"<div class='pair'>{''.join(figures)}{more}</div>"


def _pictures(prepared: Prepared, row: Mapping[Any, Any]) -> list[tuple[str, str]]:
    """Return the middle picture of one view of the picture and of one of the sound, as JPEG."""
    from workbench.opencv import cv2

    found: dict[bool, tuple[str, str]] = {}
    for name, view in prepared.views.items():
        is_sound = view.modality == "spectrogram"
        place = int(row[f"row.{name}"])
        if is_sound in found or not is_picture(view) or place == NEUTRAL_ROW:
            continue
        pictures = prepared.open_array(name)[place].reshape(-1, *view.shape[1:])
        picture = pictures[len(pictures) // 2]
        # The lowest row of a spectrum is its lowest frequency; people look for it at the bottom.
        picture = grey(picture)[::-1] if is_sound else picture[..., ::-1]
        small = cv2.resize(picture, (_SHOWN_PX, _SHOWN_PX), interpolation=cv2.INTER_AREA)
        data = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes()
        found[is_sound] = (name, base64.b64encode(data).decode())
    return [found[is_sound] for is_sound in sorted(found)]


def _sections(checkup: Checkup) -> list[str]:
    from workbench.checks import figures

    sections = [_split_table(checkup)]
    if checkup.cues:
        note = (
            "How well each cue alone tells real from fake, cross-validated within a split (below "
            "0.5: chance, or pairs of a real and a fake file alike in it): bars train with 95% of "
            "chance, diamonds val. The dashed line is the limit, "
            f"{SHORTCUT_AUC}; what is beyond it and beyond chance is red."
        )
        drawn = pages.plot("cues", figures.cue_bars(checkup.cues))
        sections.append(pages.section("Shortcut probe", drawn, note=note))
    for index, distribution in enumerate(checkup.distributions):
        medians = ", ".join(f"{name} {value:.4g}" for name, value in distribution.medians.items())
        sections.append(
            pages.section(
                distribution.quantity.capitalize(),
                pages.plot(f"distribution-{index}", figures.spread_plot(distribution)),
                note=f"Medians in {distribution.unit}: {medians}.",
                is_half=True,
            )
        )
    if checkup.probes:
        sections.append(_probe_table(checkup))
    if checkup.shifts:
        sections.append(_shift_table(checkup))
    if checkup.is_short:
        note = "A short checkup leaves out the shift between splits and the saturation of val."
        sections.append(pages.section("Not looked at", "", note=note))
    return sections


def _split_table(checkup: Checkup) -> str:
    lines = []
    for split in checkup.splits:
        labelled = split.num_fake + split.num_real
        share = f"{split.num_fake / labelled:.1%}" if labelled else "–"
        cells = [
            f"{split.num_files:,}",
            *([f"{split.num_real:,}", f"{split.num_fake:,}"] if labelled else ["–", "–"]),
            share,
            f"{split.num_absent:,}",
        ]
        lines.append([split.split, *cells])
    head = ["split", "files", "real", "fake", "share of fakes", "missing or empty"]
    return pages.section("Splits", _table(head, lines))


_ALONE = " The ± takes each file as one of its own, be several of one speaker or not."


def _probe_table(checkup: Checkup) -> str:
    lines = [
        [probe.what, f"{probe.auc:.4f}", f"± {1.96 * probe.standard_error:.4f}"]
        for probe in checkup.probes
    ]
    note = (
        "A linear model of a few numbers a file, fit on train: its AUC on val "
        f"({counted(checkup.probes[0].num_files, 'file')}). From {CEILING_AUC} on val is saturated."
        + _ALONE
    )
    table = _table(["views", "AUC", "95%"], lines)
    return pages.section("How easy val is", table, note=note, is_half=True)


def _shift_table(checkup: Checkup) -> str:
    lines = [
        [
            f"{shift.first} – {shift.second}",
            f"{shift.auc:.3f}",
            f"± {1.96 * shift.standard_error:.3f}",
            f"{shift.cue_auc:.3f}",
            shift.cue,
        ]
        for shift in checkup.shifts
    ]
    note = (
        "How well a linear model of facts and looks tells the files of two splits apart, files "
        f"that look alike kept together. From {SHIFT_AUC} on they differ." + _ALONE
    )
    head = ["splits", "AUC", "95%", "best alone", "which"]
    return pages.section("Shift between splits", _table(head, lines), note=note, is_half=True)


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return a table whose cells are numbers where they begin like one."""
    columns = [[line[place][:1] for line in lines] for place in range(len(head))]
    is_number = [all(first.isdigit() or first in "±–" for first in column) for column in columns]
    kinds = [" class='number'" if number else "" for number in is_number]
    top = "".join(f"<th{kind}>{escape(cell)}</th>" for kind, cell in zip(kinds, head, strict=True))
    rows = "".join(
        "<tr>"
        + "".join(f"<td{kind}>{escape(c)}</td>" for kind, c in zip(kinds, line, strict=True))
        + "</tr>"
        for line in lines
    )
    return (
        f"<div class='wide'><table><thead><tr>{top}</tr></thead><tbody>{rows}</tbody></table></div>"
    )
