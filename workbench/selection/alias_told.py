"""What is said where the tracking store calls another model the champion than the study does."""

from contextlib import suppress

from workbench.errors import WorkbenchError
from workbench.selection.champion import read_champion
from workbench.study.folder import StudyFolder
from workbench.tracking.alias import champion_alias
from workbench.workspace import Workspace


def other_alias(folder: StudyFolder) -> str:
    """Return a sentence if the alias leads to another model than the champion; else nothing.

    As where `experiments/` or `mlruns/` alone was put back from a copy. A server is not asked. A
    promotion that runs may be between the two, and one that was cut off is told elsewhere.
    """
    with suppress(WorkbenchError):
        if folder.experiment().tracking is not None:
            return ""
        champion = read_champion(folder)
        there = champion_alias(Workspace(folder.path.parents[1]).tracking, champion.model_name)
        if there is None or not champion.model_version:
            return ""
        result = folder.model(champion.recipe).kept_result()
        own = result.weights_sha256 if result else ""
        same_weights = not own or there.weights_sha256 in (own, None)
        if there.uid == champion.recipe and same_weights:
            return ""
        if (
            folder.registering.exists()
            or folder.is_promoting()
            or read_champion(folder) != champion
        ):
            return ""
        return (
            f"In MLflow the alias `champion` of {champion.model_name} leads to version "
            f"{there.version}, another model than {champion.title}, the champion here: as where "
            "`experiments/` and `mlruns/` are of two times. The next `workbench search` or "
            "`workbench promote` gives it back."
        )
    return ""
