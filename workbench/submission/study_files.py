"""What a bundle tells of its study: its page, and the test files as its champion scored them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from workbench.console import cut_text, visible
from workbench.data.contents import changed_files
from workbench.data.delimited import shown_cell
from workbench.data.prepared_table import read_prepared_table
from workbench.data.view_store import NEUTRAL_ROW
from workbench.errors import DamagedFileError, StudyError
from workbench.files import write_text
from workbench.pages import without_media
from workbench.report.page import write_report
from workbench.scoring.slices import TEST
from workbench.study.alike import measured_alike
from workbench.study.folder import StudyFolder
from workbench.study.packs import PackFolder
from workbench.study.scored import read_scored_trials
from workbench.study.storage import address_of
from workbench.submission.scored_files import Neutrality, ScoredFile
from workbench.trial.recipe import Recipe
from workbench.trial.result import ModelFolder
from workbench.workspace import Workspace

_MOST_REASON = 300

_UNLIKE = "only some members had it when they scored it"

_Lacks = dict[tuple[str, str], str | None]
"""Of a file, by study and view, why there is none; None where there is one."""


def write_study_page(folder: StudyFolder, path: Path) -> None:
    """Write the page of the study as it is now; one that lost its trials has none."""
    if address_of(folder) is None and not folder.journal.exists():
        return
    rows, _ = measured_alike(folder, read_scored_trials(folder))
    write_report(folder, rows, folder.objective(), path)
    # The media that it shows are the data's, and not this author's to hand on.
    write_text(path, without_media(path.read_text(encoding="utf-8")))


def find_scored_files(
    folder: StudyFolder,
    model: ModelFolder,
    trained: Iterable[tuple[str, Recipe]],
    names: Iterable[str],
) -> tuple[ScoredFile, ...]:
    """Return each file of the template once, in its order.

    Args:
        folder: The study.
        model: What is exported.
        trained: The study and the recipe of each training of it: a study prepared what its views
            saw of a file.
        names: Of the template.
    """
    trainings = [*trained]
    contents, seen = _seen(folder, trainings)
    known = {name: _file(name, contents[name], seen.get(name, {})) for name in contents}
    scores = model.read_scores()
    wholly = {name for name, file in known.items() if file.neutral == "wholly"}
    if "neutral" in scores.columns:  # version 0.1 wrote no such column
        of_test = scores[scores["slice"] == TEST]
        wholly = set(of_test.loc[of_test["neutral"], "name"])
    unlike = set() if len(trainings) < 2 else _unlike(folder, model, trainings, seen) - wholly
    files = []
    for name in dict.fromkeys(names):
        file = known.get(name, ScoredFile(name, "", "no"))
        if name in unlike:
            why = f"{_UNLIKE}{file.why and f': {file.why}'}"
            files.append(replace(file, neutral="wholly", why=why))
            continue
        partly: Neutrality = "no" if file.neutral == "no" else "partly"
        files.append(replace(file, neutral="wholly" if name in wholly else partly))
    return tuple(files)


def device_of(folder: StudyFolder, model: ModelFolder) -> str:
    """Return what a model's scores were computed on: `cpu` or a GPU's name; empty if unknown.

    Of a pack, whose members were scored each on its own, a GPU if any was.
    """
    models = [model]
    if isinstance(model, PackFolder):
        members = model.read_pack().members
        models += [folder.beside(member.study).model(member.recipe) for member in members]
    results = [one.kept_result() for one in models]
    devices = {result.device for result in results if result and result.device}
    return min(devices, key=lambda device: (device == "cpu", device), default="")


def folder_of_test_media(folder: StudyFolder) -> str:
    """Return the folder of the test media within the data folder.

    It is `.` where that is the data folder itself, and empty if it is not known.
    """
    if not folder.manifest.exists():
        return ""
    table = read_prepared_table(folder.manifest, columns=["split", "name", "path"])
    test = table[table["split"] == "test"]
    paths = test["path"].tolist()
    pairs = zip(paths, test["name"], strict=True)
    places = {path.removesuffix(name) for path, name in pairs if path.endswith(name)}
    if len(places) == 1 and ((place := places.pop()) == "" or place.endswith("/")):
        return place.rstrip("/") or "."
    for name in folder.experiment().data.test_media:
        if all(str(path).startswith(f"{name}/") for path in paths):
            return name
    return ""


def sentence_on_changed_media(folder: StudyFolder) -> str:
    """Return how many test files are others by now than those that were scored, in a sentence.

    Empty if none is, or where the data folder is not there.
    """
    try:
        data = Path(folder.info().data)
    except (DamagedFileError, StudyError):
        return ""  # it does not know its data folder, and needs none to be exported
    if not (folder.manifest.exists() and data.is_dir()):
        return ""
    table = read_prepared_table(folder.manifest, columns=["split", "path", "content", "status"])
    # One that is too large was never read.
    test = table[(table["split"] == TEST) & (table["status"] != "too_large")]
    contents = dict(zip(test["path"], test["content"], strict=True))
    changed = changed_files(contents, data, cache=Workspace(folder.path.parents[1]).cache)
    if not changed:
        return ""
    return (
        f"{len(changed)} of the {len(contents)} test files in {data} "
        f"{'is' if len(changed) == 1 else 'are'} not what was scored, e.g. "
        f"{shown_cell(changed[0], most=200)}. The predictions are of what they were; `workbench "
        "predict` scores them as they are."
    )


def _seen(
    folder: StudyFolder, trained: Iterable[tuple[str, Recipe]]
) -> tuple[dict[str, str], dict[str, _Lacks]]:
    """Return of the test files, by name, the content, and what the studies of models had of it."""
    contents: dict[str, str] = {}
    seen: dict[str, _Lacks] = {}
    for name, recipe in trained:
        if not (study := folder.beside(name)).manifest.exists():
            continue
        table = read_prepared_table(study.manifest)
        for row in table[table["split"] == "test"].to_dict("records"):
            contents[row["name"]] = str(row["content"])
            for view in recipe.model.views:
                if f"row.{view}" in row:
                    is_neutral = row[f"row.{view}"] == NEUTRAL_ROW
                    why = str(row[f"reason.{view}"]) if is_neutral else None
                    seen.setdefault(row["name"], {})[name, view] = why
    return contents, seen


def _unlike(
    folder: StudyFolder,
    model: ModelFolder,
    trained: Sequence[tuple[str, Recipe]],
    seen: Mapping[str, _Lacks],
) -> set[str]:
    """Return the test files of which some members of a pack were given an array, others not.

    So it is where they are of several studies, and a file could not be read when one began.
    Up to version 0.2 a study that went on read such a file anew: its members' scores tell which.
    """
    settings = {
        (study, name): view.model_dump_json()
        for study, recipe in trained
        for name, view in recipe.model.views.items()
    }
    unlike = set()
    for name, lacks in seen.items():
        had = {(settings[key], why is None) for key, why in lacks.items()}
        if len({view for view, _ in had}) < len(had):
            unlike.add(name)
    if not isinstance(model, PackFolder):
        return unlike
    trials = {(study, recipe.uid) for study, recipe in trained}
    agree: dict[str, set[bool]] = {}
    for member in model.read_pack().members:
        if (member.study, member.recipe) not in trials:
            continue  # a soup, or of another study's data, as a refit
        try:
            scores = folder.beside(member.study).trial(member.recipe).read_scores()
        except DamagedFileError:
            continue
        if "neutral" not in scores:
            continue
        for row in scores[scores["slice"] == TEST].to_dict("records"):
            of_file = seen.get(row["name"], {})
            keys = [(member.study, view) for view in member.trained.model.views]
            if of_file.keys() >= set(keys):  # a study may have lost its table
                lacks_all = all(of_file[key] is not None for key in keys)
                agree.setdefault(row["name"], set()).add(bool(row["neutral"]) == lacks_all)
    return unlike | {name for name, both in agree.items() if len(both) > 1}


def _file(name: str, content: str, seen: _Lacks) -> ScoredFile:
    lacking = [(view, why) for (_, view), why in seen.items() if why is not None]
    kind: Neutrality = "no"
    told = ""
    if lacking:
        kind = "wholly" if len(lacking) == len(seen) else "partly"
        view, why = lacking[0]
        reason = visible(cut_text(why, _MOST_REASON))
        told = reason if kind == "wholly" else f"{view}: {reason}"
    return ScoredFile(name, content, kind, told)
