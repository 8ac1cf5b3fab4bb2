"""The pack of a study's trials that is worth most, made."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from workbench.api.disks import full_disks_told
from workbench.console import visible_lines
from workbench.notebook import ShownAsText
from workbench.searching.mending import pack_run
from workbench.selection.pack_proposal import Limits, make_pack, propose_pack
from workbench.selection.pack_summary import PackSummary, describe_pack, summarise_pack
from workbench.study.alike import choosable_trials
from workbench.study.folder import StudyFolder
from workbench.workspace import Workspace


@dataclass(frozen=True)
class MadePack(ShownAsText):
    """A pack that `Study.pack` made: several trained trials in one module, judged as one model."""

    summary: PackSummary
    """Its members with their weights, and what it is worth."""

    path: Path
    """Its folder."""

    decision: str
    """Whether it is worth more than the best single model, in a sentence."""

    is_better: bool
    """The same as a value: whether it is the pack that is to be promoted."""

    next_study: str = ""
    """The study in which the better of the two is promoted: the best single trial may be another
    study's."""

    def __str__(self) -> str:
        estimate = self.summary.estimate
        expected = [estimate.sentence] if estimate else []
        return visible_lines(describe_pack(self.summary, [*expected, self.decision]))


def pack_trials(
    folder: StudyFolder,
    others: Sequence[StudyFolder],
    limits: Limits,
    workspace: Workspace,
    *,
    soups: bool,
) -> MadePack:
    """Choose a pack and write it into the study; see `Study.pack`."""
    for study in (folder, *others):
        choosable_trials(study)  # says which complete ones cannot be members
    proposal = propose_pack(folder, others, limits, soups=soups)
    with full_disks_told(folder, workspace) as root:
        files, record = make_pack(folder, proposal)
        pack_run(folder, root, record.uid)
    best, decision, better = proposal.best, proposal.sentence, folder.name
    if best.folder.name != folder.name and proposal.finalist is None:
        decision += f" That single trial is {best.title}."
        better = folder.name if proposal.is_promoted else best.folder.name
    return MadePack(
        summary=summarise_pack(folder, files),
        path=files.path,
        decision=decision,
        is_better=proposal.is_promoted,
        next_study=better,
    )
