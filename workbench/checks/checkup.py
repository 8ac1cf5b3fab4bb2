"""The data check: what would fool a search, found before it runs."""

import textwrap
from collections.abc import Iterator

import pandas as pd

from workbench.checks.copies import durations
from workbench.checks.copies import near_copy_pairs as near_pairs
from workbench.checks.duplicates import (
    dealt_files,
    exact_copies,
    files_of,
    find_near_copies,
    near_groups,
)
from workbench.checks.findings import Finding
from workbench.checks.metadata import harder_slices, metadata_findings, near_part_findings
from workbench.checks.profiles import Looks, sample_files, view_profile
from workbench.checks.rows import row_findings, undecodable
from workbench.checks.saturation import ProbeScore, probe_shortcuts, saturation_findings
from workbench.checks.shift import SplitShift, shift_findings, split_shifts
from workbench.checks.shortcuts import CueScore, score_cues, shortcut_findings
from workbench.checks.splits import (
    Distribution,
    SplitCount,
    balance_findings,
    count_splits,
    distributions,
)
from workbench.checks.thumbnails import MOST_FRAMES, thumbnails, unique_contents
from workbench.data.manifest import Manifest
from workbench.data.prepare import Prepared
from workbench.tables import counted, width
from workbench.tables import text_table as text_table
from workbench.values import Frozen

_MOST_IN_SHORT = 2
"""Pictures of a file that are looked at in a short checkup."""

_EXAMPLES = 3


class Checkup(Frozen):
    """What the data check found, and the numbers it looked at."""

    fingerprint: str
    """Names labels and media: see `Manifest.fingerprint`."""

    is_short: bool
    views: tuple[str, ...]
    compared: tuple[str, ...]
    """Views in which near copies were looked for."""

    findings: tuple[Finding, ...]
    """Warnings first."""

    splits: tuple[SplitCount, ...]
    distributions: tuple[Distribution, ...]
    cues: tuple[CueScore, ...]
    """The best first."""

    shifts: tuple[SplitShift, ...]
    """Empty in a short checkup, which leaves this out."""

    probes: tuple[ProbeScore, ...]
    """The best first; empty in a short checkup."""

    @property
    def num_warnings(self) -> int:
        """Findings that call for something to be done."""
        return sum(finding.severity == "warning" for finding in self.findings)


def run_checks(
    manifest: Manifest, prepared: Prepared, facts: pd.DataFrame, *, short: bool
) -> Checkup:
    """Return what there is to say of a data set.

    Facts are the fields of `media.facts.Facts`, by content. With `short`, what takes long is left
    out: the shift between splits and the saturation of val.
    """
    files = files_of(prepared.table)
    counts = count_splits(manifest.table)
    told = manifest.in_class_folders
    cues = score_cues(prepared, facts, files, short=short, in_class_folders=told)
    shifts: list[SplitShift] = []
    probes: list[ProbeScore] = []
    if not short and len(files):
        some = sample_files(files)
        looks: Looks = {name: view_profile(prepared, name, some) for name in prepared.views}
        shifts, probes = split_shifts(prepared, facts, some, looks), probe_shortcuts(some, looks)
    contents = unique_contents(files)
    small = thumbnails(prepared, contents, most=_MOST_IN_SHORT if short else MOST_FRAMES)
    pairs = near_pairs(small, durations(contents, facts))
    dealt = dealt_files(files, manifest.table)
    harder = harder_slices(manifest.table, manifest.metadata)
    findings = [
        *exact_copies(dealt),
        *find_near_copies(dealt, contents, pairs),
        *row_findings(manifest),
        *metadata_findings(manifest),
        *near_part_findings(files, near_groups(contents, pairs)),
        *shortcut_findings(cues),
        *saturation_findings(probes, harder),
        *balance_findings(counts),
        *shift_findings(shifts),
        *undecodable(prepared),
    ]
    return Checkup(
        fingerprint=manifest.fingerprint,
        is_short=short,
        views=tuple(prepared.views),
        compared=tuple(small),
        findings=tuple(sorted(findings, key=lambda finding: finding.severity != "warning")),
        splits=tuple(counts),
        distributions=tuple(distributions(files, facts)),
        cues=tuple(cues),
        shifts=tuple(shifts),
        probes=tuple(probes),
    )


def as_text(checkup: Checkup) -> str:
    """Return the findings for a person at a terminal."""
    files = counted(sum(split.num_files for split in checkup.splits), "file")
    looked = f"{files} in {counted(len(checkup.splits), 'split')}"
    if not checkup.findings:
        copies = "exact and near copies" if checkup.compared else "exact copies"
        asked = [copies, "labels and rows", f"{len(checkup.cues)} shortcuts"]
        if not checkup.is_short:
            asked += ["the shift between splits", "the saturation of val"]
        return f"Nothing found. Looked at {looked}: {', '.join(asked)}."
    notes = len(checkup.findings) - checkup.num_warnings
    head = f"{counted(checkup.num_warnings, 'warning')} and {counted(notes, 'note')} on {looked}."
    lines = [line for finding in checkup.findings for line in _lines(finding)]
    return "\n".join([head, *lines])


def number_table(checkup: Checkup) -> str:
    """Return the make-up of the splits as a plain text table."""
    return text_table(
        ["split", "files", "fake", "real", "not there"],
        [
            [
                split.split,
                str(split.num_files),
                str(split.num_fake) if split.num_fake + split.num_real else "-",
                str(split.num_real) if split.num_fake + split.num_real else "-",
                str(split.num_absent),
            ]
            for split in checkup.splits
        ],
    )


def _lines(finding: Finding) -> Iterator[str]:
    columns = width() - 4
    yield ""
    yield from textwrap.wrap(
        f"{finding.severity}: {finding.sentence}", columns, subsequent_indent="  "
    )
    yield from textwrap.wrap(
        finding.remedy, columns, initial_indent="  -> ", subsequent_indent="     "
    )
    for group in finding.files[:_EXAMPLES]:
        shown = " = ".join(group[:_EXAMPLES])
        yield f"     {shown}{' = ...' if len(group) > _EXAMPLES else ''}"
    rest = finding.num_groups - len(finding.files[:_EXAMPLES])
    if rest > 0:
        yield f"     and {rest:,} more"
