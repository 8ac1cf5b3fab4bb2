"""What MLflow's user interface says of a study as a whole: its champion, and the best trials."""

from itertools import islice

from workbench.addresses import TrackingPlace
from workbench.selection.champion import Champion, describe_champion
from workbench.selection.leaderboard import complete_trials, count_line, millions, rank
from workbench.study.alike import measured_alike
from workbench.study.folder import StudyFolder
from workbench.study.records import TrialRow, read_trials
from workbench.study.scored import is_refuted
from workbench.tracking.registry import ModelRegistry
from workbench.tracking.runs import Tracking

_TOP = 10


def tell_in_mlflow(folder: StudyFolder, place: TrackingPlace, champion: Champion) -> None:
    """Describe a study's run and its registered model, as Markdown, after a promotion.

    Args:
        folder: The study.
        place: Of the tracking store, which has its runs.
        champion: What was promoted.
    """
    info, tracking = folder.info(), Tracking(place)
    parent = tracking.find_study(info.name, info.id)
    page = tracking.page(parent).removeprefix("/")  # a link within the user interface
    said = [f"- {line}" for line in describe_champion(champion).splitlines()]
    rows, _ = measured_alike(folder, read_trials(folder))
    objective, limits = champion.objective, folder.experiment().constraints
    ranked = rank(complete_trials(rows), objective)
    best = islice((r for r in ranked if not is_refuted(folder, r, objective, limits)), _TOP)
    lines = [
        *said,
        "",
        f"| trial | {objective.label} | log-loss | model | M parameters |",
        "| --- | --- | --- | --- | --- |",
        *(_line(page.partition("?")[0], row) for row in best),
        "",
        count_line(rows),
        "",
        f"[All trials]({page}), best first. What the decision "
        f"rests on: `workbench compare {folder.name}`, and its page `{folder.report}`.",
    ]
    tracking.describe(parent, "\n".join(lines))
    load = f"mlflow.pyfunc.load_model('models:/{champion.model_name}@champion')"
    card = [
        f"The champion of the study [{folder.name}]({page}).",
        "",
        *said,
        "",
        f"`{load}` loads it, where you trust this store; its rows are the views of a file, flat. "
        f"`workbench export {folder.name} --out bundle` writes what scores media files themselves.",
    ]
    ModelRegistry(place).describe(champion.model_name, "\n".join(card))


def _line(runs: str, row: TrialRow) -> str:
    title = f"trial {row.number}"
    if row.run_id:
        title = f"[{title}]({runs}/{row.run_id})"
    log_loss = row.metrics.get("log_loss")
    model = f"{row.backbone} {'+'.join(row.views)} {row.image_px} px"
    cells = [title, f"{row.objective:.4f}", "" if log_loss is None else f"{log_loss:.4f}", model]
    return f"| {' | '.join([*cells, millions(row)])} |"
