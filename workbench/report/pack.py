"""The pack of trials on a study's page: its members, what each adds, what it is worth."""

from workbench import pages
from workbench.report.cells import number_cell, prose_cell, said_cell, table, word_cell
from workbench.selection.pack_summary import MemberSummary, PackSummary
from workbench.selection.summary import Summary

_WORDS = ("trial", "model")


def pack_section(summary: Summary) -> str:
    """Return the pack that was made last; nothing where none was."""
    pack = summary.pack
    if pack is None:
        return ""
    metric = pack.objective.metric
    header = ("trial", "model", "weight", metric, "pack without it", "change", "agreement", "ms")
    drawn = table(header, [_line(pack, member) for member in pack.members], words=_WORDS)
    drawn += _mistakes(pack)
    return pages.section(f"Pack of {pack.title}", drawn, note=" ".join(_notes(summary, pack)))


def _mistakes(pack: PackSummary) -> str:
    """Return what each member says of the files that the pack is surest of, and wrong."""
    if not pack.mistakes:
        return ""
    header = ("file", "is", "pack", *(member.name for member in pack.members))
    lines = [
        [
            word_cell(one.name),
            word_cell("fake" if one.target else "real"),
            *(number_cell(score, ".3f") for score in (one.score, *one.by_member)),
        ]
        for one in pack.mistakes
    ]
    said = "<p>What each member says of the files that the pack is surest of, and wrong:</p>"
    return said + table(header, lines, words=("file", "is"))


def _line(pack: PackSummary, member: MemberSummary) -> list[str]:
    change = None if member.without is None else pack.value - member.without
    return [
        word_cell(member.name),
        prose_cell(member.model),
        number_cell(member.weight, ".3f"),
        number_cell(member.value, ".4f"),
        number_cell(member.without, ".4f"),
        said_cell("\N{EN DASH}" if change is None else f"{change:+.4f}", change),
        number_cell(member.agreement, ".2f"),
        number_cell(member.ms_per_file, ".1f"),
    ]


def _notes(summary: Summary, pack: PackSummary) -> list[str]:
    metric, place = pack.objective.metric, pack.objective.place
    notes = [f"Its score is {pack.joint}: {metric} {pack.value:.4f} on {place}."]
    if pack.estimate:
        # The head of the page says what to expect of a pack that is promoted.
        worth = [pack.overtaken] if pack.overtaken else []
        if not summary.is_pack_promoted:
            worth = [pack.estimate.sentence, *pack.gain_in_words]
            worth += filter(None, [pack.broken_in_words])
        notes += [*worth, f"{pack.estimate.method}."]
    if pack.rates_in_words:
        notes.append(pack.rates_in_words)
    notes.append(
        "Change: what the pack has by this member, the others weighed as they are. Agreement: the "
        "mean rank correlation of its scores with those of the others; members that err alike add "
        "little to one another. ms: to score a file by it, from its stored views on."
    )
    return notes
