"""What a study takes on the disk, and which trials' weights it may do without."""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from workbench.errors import DamagedFileError, DiskFullError
from workbench.files import write_text
from workbench.study.folder import StudyFolder
from workbench.study.looks import read_looks
from workbench.study.records import TrialRow
from workbench.study.repeats import read_plan, read_repeats
from workbench.trial.result import ModelFolder, TrialFolder
from workbench.validation import read_record
from workbench.values import Frozen

_NOTE = "weights-deleted.json"
_UID = re.compile(r'"([0-9a-f]{12})"')


class StudySize(Frozen):
    """The bytes of a study's folder."""

    weights: int = 0
    checkpoints: int = 0
    rest: int = 0

    @property
    def total(self) -> int:
        """All bytes."""
        return self.weights + self.checkpoints + self.rest


class DeletedWeights(Frozen):
    """Why a trial has no weights any more."""

    by: str
    """What deleted them, as the subject of a sentence."""

    when: str
    """UTC, ISO 8601."""


def files_below(folder: Path) -> Iterator[Path]:
    """Yield the regular files below a folder; no link is followed, and none is yielded."""
    for place, _, names in os.walk(folder):
        for name in names:
            file = Path(place, name)
            if file.is_file() and not file.is_symlink():
                yield file


def bytes_below(folder: Path) -> int:
    """Return the bytes of the files below a folder; 0 where there is none."""
    return sum(size for _, size in _sizes_below(str(folder)))


def size_of(folder: StudyFolder) -> StudySize:
    """Return what the folder of a study takes; a running search may change it meanwhile."""
    taken = dict.fromkeys(StudySize.model_fields, 0)
    for name, size in _sizes_below(str(folder.path)):
        kind = {".safetensors": "weights", ".pt": "checkpoints"}.get(Path(name).suffix, "rest")
        taken[kind] += size
    return StudySize(**taken)


def _sizes_below(folder: str) -> Iterator[tuple[str, int]]:
    """Yield name and bytes of the files that `files_below` yields, in a fraction of its time."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):  # of a trial that ended meanwhile
                if entry.is_dir(follow_symlinks=False):
                    yield from _sizes_below(entry.path)
                elif entry.is_file(follow_symlinks=False):
                    yield entry.name, entry.stat(follow_symlinks=False).st_size


def _bytes(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:  # a trial that ended meanwhile
        return 0


def needed(folder: StudyFolder, rows: Sequence[TrialRow]) -> dict[str, str]:
    """Return the recipes whose weights a study cannot do without, each with why.

    The champion's, with all that its record names; those that a look at the holdout was about; the
    finalists and their repeats; of a known recipe all, which a pack that was stopped goes on with.

    Raises:
        DamagedFileError: a record of them cannot be read.
    """
    why: dict[str, str] = {}
    if folder.is_of_recipe():
        why |= dict.fromkeys((row.recipe for row in rows), "member")
    if (plan := read_plan(folder)) is not None:
        why |= {row.recipe: "finalist" for row in rows if row.number in plan.numbers}
        # By the recipe, as `finalists` does: a journal written anew may number trials otherwise.
        why |= {
            repeat.recipe: f"repeat of trial {repeat.number}"
            for repeat in read_repeats(folder)
            if (repeat.of in why or repeat.number in plan.numbers)
            and repeat.place <= plan.num_seeds
        }
    for look in read_looks(folder):
        why |= dict.fromkeys((look.recipe, look.of_recipe), "audited")
    if folder.champion.exists():
        named = _UID.findall(folder.champion.read_text(encoding="utf-8", errors="replace"))
        if not named:
            raise DamagedFileError(
                f"{folder.champion} names no champion: it is damaged. Put the file back, or run "
                f"`workbench promote {folder.name}`."
            )
        why |= dict.fromkeys(named, "champion")
    return why


def delete_weights(files: TrialFolder, *, by: str) -> int:
    """Delete the weights of an ended trial and note by what; return the bytes that were freed."""
    freed = _bytes(files.weights)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    # First, so that a kill in between leaves no gap without a reason.
    note = DeletedWeights(by=by, when=now)
    text = note.model_dump_json(indent=2) + "\n"
    try:
        write_text(files.path / _NOTE, text)
    except DiskFullError:  # there is space for it once they are gone
        files.weights.unlink(missing_ok=True)
        write_text(files.path / _NOTE, text)
    files.weights.unlink(missing_ok=True)
    return freed


def without_weights(files: ModelFolder, title: str) -> str:
    """Return in sentences that a trial's weights are gone, why, and what can be done.

    `title` is what a person calls it, e.g. `trial 7`.
    """
    note = files.path / _NOTE
    if not note.exists():
        return (
            f"The weights of {title} are gone ({files.weights}). Put the file back, or promote "
            "another trial."
        )
    deleted = read_record(DeletedWeights, note, remedy="Remove the file.")
    return (
        f"The weights of {title} are gone: {deleted.by} deleted them on {deleted.when[:10]}. "
        "Promote a trial whose weights are kept: `workbench compare` names them."
    )


def kept_weights(folder: StudyFolder, rows: Sequence[TrialRow]) -> str:
    """Return in a line of its own which trials kept their weights; empty if none lost them.

    They are named in the order of `rows`.
    """
    complete = [row for row in rows if row.state == "complete"]
    deleted = {row.number for row in complete if (folder.trial(row.recipe).path / _NOTE).exists()}
    deleted -= {row.number for row in complete if folder.trial(row.recipe).weights.exists()}
    if not deleted:
        return ""
    kept = [str(row.number) for row in complete if folder.trial(row.recipe).weights.exists()]
    which = "no trial" if not kept else f"trial{'s' * (len(kept) > 1)} {', '.join(kept)}"
    return (
        f"\nThe weights of {len(deleted)} complete trial{'s' * (len(deleted) > 1)} were deleted; "
        f"only {which} can be promoted.\n"
    )


def note_removed(folder: StudyFolder, uids: Iterable[str]) -> None:
    """Note packs, soups and refits that are removed since nothing needs them, a line each."""
    write_text(folder.cleaned, "".join(f"{uid}\n" for uid in sorted({*removed(folder), *uids})))


def removed(folder: StudyFolder) -> set[str]:
    """Return what was noted as removed: MLflow keeps the runs of those."""
    if not folder.cleaned.exists():
        return set()
    return set(folder.cleaned.read_text(encoding="utf-8", errors="replace").split())
