"""The studies of a workspace: what each takes, how far it is, and when it last changed."""

from collections.abc import Sequence
from datetime import UTC, datetime

from workbench.console import cut_text
from workbench.errors import StudyError, WorkbenchError
from workbench.maintenance.caches import studies_of, view_caches
from workbench.selection.champion import read_champion
from workbench.study.disk import StudySize, bytes_below, size_of
from workbench.study.folder import StudyFolder
from workbench.study.records import count_paused, count_running, read_trials
from workbench.tables import size, text_table
from workbench.tracking.removal import artifact_folder
from workbench.values import Frozen
from workbench.workspace import Workspace


class ListedChampion(Frozen):
    """What a study promoted."""

    trial: int | None
    """The trial's number; none of a pack or a soup."""

    is_soup: bool = False

    metric: str
    value: float


class ListedStudy(Frozen):
    """One study as the list has it."""

    name: str
    created: str = ""
    changed: str
    """When its journal last changed, or where it has none, its last trial; UTC, ISO 8601."""

    is_searched: bool
    """Whether a command holds it now."""

    complete: int = 0
    pruned: int = 0
    failed: int = 0
    paused: int = 0
    """Those that wait."""

    open: int = 0
    """Those in flight, or that were when the study was cut off."""

    champion: ListedChampion | None = None
    size: StudySize
    tracking_bytes: int
    """Artifacts and registered models of the studies of this name in the tracking store."""

    problem: str = ""
    """Why not all of this is known, in sentences."""

    @property
    def total_bytes(self) -> int:
        """What it takes in all places."""
        return self.size.total + self.tracking_bytes


def list_studies(workspace: Workspace) -> list[ListedStudy]:
    """Return the studies of a workspace, the last changed first."""
    found = [_listed(study, workspace) for study in studies_of(workspace)]
    return sorted(found, key=lambda one: one.changed, reverse=True)


def _listed(study: StudyFolder, workspace: Workspace) -> ListedStudy:
    kept = [study.journal] if study.journal.exists() else study.path.glob("trials/*")
    times = [place.stat().st_mtime for place in (study.info_file, *kept)]
    changed = datetime.fromtimestamp(max(times), UTC)
    known: dict[str, object] = {}
    problem = ""
    try:
        known["created"] = study.info().created
        known |= _counted(study)
        if study.champion.exists():
            champion = read_champion(study)
            known["champion"] = ListedChampion(
                trial=champion.number,
                is_soup=champion.is_soup,
                metric=champion.objective.metric,
                value=champion.value,
            )
    except WorkbenchError as error:
        problem = str(error)
    plain = ListedStudy(
        name=study.name,
        changed=changed.isoformat(timespec="seconds"),
        is_searched=study.is_held(),
        size=size_of(study),
        tracking_bytes=bytes_below(artifact_folder(workspace.tracking, study.name)),
        problem=problem,
    )
    return plain.model_copy(update=known)


def _counted(study: StudyFolder) -> dict[str, object]:
    """Return how many trials are in which state."""
    try:
        rows = read_trials(study)
    except StudyError:  # none was begun yet
        return {}
    counts: dict[str, object] = {
        state: sum(row.state == state for row in rows) for state in ("complete", "pruned", "failed")
    }
    paused = count_paused(study)
    return {**counts, "paused": paused, "open": max(0, count_running(study) - paused)}


def describe_studies(studies: Sequence[ListedStudy], workspace: Workspace, *, now: datetime) -> str:
    """Return the studies as tables for a terminal of 80 columns: how far each is, what it takes.

    Ages are counted from `now`; the last lines say what else in the workspace takes space.
    """
    header = ["study", "complete", "pruned", "failed", "paused", "champion", "changed"]
    progress = [
        [
            cut_text(one.name, _LONGEST),
            *(str(number) for number in (one.complete, one.pruned, one.failed)),
            str(one.paused),
            _champion(one.champion),
            "searched now" if one.is_searched else f"{_age(one.changed, now)} ago",
        ]
        for one in studies
    ]
    taken = [
        [
            cut_text(one.name, _LONGEST),
            *(size(part) for part in (one.size.weights, one.size.checkpoints, one.size.rest)),
            size(one.tracking_bytes),
            size(one.total_bytes),
        ]
        for one in studies
    ]
    if len(studies) > 1:
        taken.append(["together", "", "", "", "", size(sum(one.total_bytes for one in studies))])
    lines = [
        text_table(header, progress),
        "",
        text_table(["study", "weights", "checkpoints", "rest", "MLflow", "together"], taken),
    ]
    for one in studies:
        if one.problem:
            lines.append(f"\n{one.name}: {one.problem}")
        elif one.open and not one.is_searched:
            which = "1 trial was" if one.open == 1 else f"{one.open} trials were"
            lines.append(f"\n{one.name}: {which} cut off; the next search goes on with them.")
    caches = view_caches(workspace)
    whole = sum(cache.size_bytes for cache in caches)
    unused = sum(cache.size_bytes for cache in caches if not cache.is_used)
    lines.append(f"\nDecoded views: {size(whole)}, of which no study uses {size(unused)}.")
    return "\n".join(lines)


_LONGEST = 18


def _champion(one: ListedChampion | None) -> str:
    if one is None:
        return "-"
    what = one.trial if one.trial is not None else "soup" if one.is_soup else "pack"
    return f"{what}: {one.value:.4f}"


def _age(changed: str, now: datetime) -> str:
    """Return how long ago something changed, in its largest unit."""
    seconds = max(0.0, (now - datetime.fromisoformat(changed)).total_seconds())
    for unit, length in (("day", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            number = int(seconds // length)
            return f"{number} {unit}{'s' * (unit == 'day' and number > 1)}"
    return f"{seconds:.0f} s"
