"""The main job: from an experiment file to a searched study."""

import os
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import pandas as pd
import yaml

from workbench.checks import checkup
from workbench.console import say
from workbench.data import manifest, prepare
from workbench.data.dataset import find_data
from workbench.data.facts import FactsStore
from workbench.errors import StudyError
from workbench.files import finished, full_disk_told, require_writable, write_text
from workbench.scoring.slices import labelled_slices
from workbench.screening.probing import screen
from workbench.screening.screening import FILE, describe, first_drafts, narrowed
from workbench.search.augment_sheet import write_augment_sheets
from workbench.search.beside import Beside
from workbench.search.devices import choose_devices, pack_devices
from workbench.search.forecast import Forecast
from workbench.search.loop import Search, Settings, workers_ahead
from workbench.search.packing import most_side_by_side
from workbench.search.recording import StudyRuns, mend
from workbench.search.store import StudyStore
from workbench.space.experiment import Experiment, read_experiment
from workbench.space.precisions import Precisions, settled_for
from workbench.space.presets import draft_for, read_known
from workbench.space.recipe_builder import RecipeBuilder, check_rules
from workbench.space.space import SampledConfig, Space
from workbench.space.weights_finder import WeightsFinder
from workbench.study.alike import measured_alike
from workbench.study.folder import (
    StudyFolder,
    StudyInfo,
    new_or_known,
    remember_last,
)
from workbench.study.provenance import code_tags, describe_code, environment_tags
from workbench.study.records import read_study, read_trials
from workbench.tracking.writing import State
from workbench.trial.compiling import Compile
from workbench.workspace import Workspace

AUGMENT_SHEETS = "augmentations"
"""Folder of a study, and of its record, that holds them."""


@dataclass(frozen=True)
class Outcome:
    """How a sitting of a study went."""

    folder: StudyFolder
    experiment: Experiment
    stopped: str
    """Why it stopped before its number of trials; empty if it did not."""

    num_new: int
    """Trials that ended in this sitting."""


@dataclass(frozen=True)
class SearchRequest:
    """What is asked of one sitting of a study."""

    num_trials: int
    """Trials of the whole study, refused, pruned and failed ones included."""

    study: str | None = None
    """Its name; the experiment's by default."""

    data: Path | None = None
    """The data folder; by default the demo, where the experiment is about it."""

    seed: int = 0
    """Of the sampler and of every trial."""

    jobs: int | Literal["auto"] | None = None
    """Trials side by side: a number; or as many as the device is measured to be good for; or, by
    default, one on each GPU and one on each CPU core up to four."""

    device: str = "auto"
    """A torch device, or `auto`."""

    timeout_s: float | None = None
    """No epoch begins after so long; the trials in flight are kept and go on the next time."""

    stall_s: float = 900.0
    """A trial of which no batch ends for so long hangs."""

    compiled: Compile = "auto"
    """When trials compile their passes; see `trial.compiling`."""

    stop_at_noise: bool = False
    """See `Settings`."""

    memory_bytes: int | None = None
    """What one trial may take of its device's memory; by default its share."""

    strict: bool = False
    """Whether a file that cannot be decoded is an error."""


def run_search(
    experiment_file: Path,
    workspace: Workspace,
    asked: SearchRequest,
    *,
    start_from: Sequence[Path] = (),
) -> Outcome:
    """Search until the study has its trials; one that was begun goes on.

    Args:
        experiment_file: The experiment.
        workspace: Where studies, caches and the tracking store are.
        asked: How to search.
        start_from: Files of known recipes to try first.

    Raises:
        WorkbenchError: something that the user gave cannot be used; says what to do.
        KeyboardInterrupt: Ctrl-C; the study can go on.
    """
    experiment, space = read_experiment(experiment_file)
    first = {str(path): draft_for(path, experiment.views) for path in start_from}
    return _run(experiment, space, experiment_file, workspace, asked, first)


def run_known(
    recipe_file: Path, workspace: Workspace, asked: SearchRequest, *, settings: Sequence[str] = ()
) -> Outcome:
    """Train one known recipe: a study of one trial, recorded like any other.

    Args:
        recipe_file: The recipe.
        workspace: Where studies, caches and the tracking store are.
        asked: How to train it.
        settings: What to change of it; see `read_known`.

    Raises:
        WorkbenchError: something that the user gave cannot be used; says what to do.
        KeyboardInterrupt: Ctrl-C; the study can go on.
    """
    experiment, space = read_known(recipe_file, settings)
    return _run(experiment, space, recipe_file, workspace, asked, {})


def _run(
    experiment: Experiment,
    space: Space,
    experiment_file: Path,
    workspace: Workspace,
    asked: SearchRequest,
    first: Mapping[str, SampledConfig],
) -> Outcome:
    began = time.monotonic()
    folder = new_or_known(workspace.studies, asked.study or experiment.name)
    if folder.info_file.exists():
        space = space.as_begun(folder.begun()["space"])
        experiment = experiment.as_begun(folder.experiment())
    jobs = None if asked.jobs == "auto" else asked.jobs
    devices, threads = choose_devices(asked.device, jobs)
    finder = WeightsFinder(workspace.weights)
    check_rules(experiment, space, finder)
    for sentence in space.warnings():
        say(sentence)
    for place in (folder.path, folder.path / "trials", workspace.tracking):
        require_writable(place)  # before minutes go into what cannot be kept
    with folder.held(), ExitStack() as stack:
        data_folder = find_data(experiment, workspace, asked.data)
        files = manifest.read_manifest(data_folder, experiment.data, cache=workspace.cache)
        info = _check_same(
            folder, experiment, space, experiment_file, data_folder, files, asked.seed, devices
        )
        for line in manifest.describe(files):
            say(line)
        views = {name: experiment.views[name] for name in _views_used(space)}
        decoders = os.cpu_count() or 1
        prepared = prepare.prepare(files, data_folder, views, cache=workspace.cache, jobs=decoders)
        for line in prepare.describe(prepared):
            say(line)
        if asked.strict:
            prepare.require_all(prepared)
        prepare.require_classes(prepared)
        measured = labelled_slices(prepared, experiment.objective.over)
        num_scored = sum(len(part.rows) for part in measured)
        facts = FactsStore(workspace.cache).table(prepared.contents())
        say(checkup.as_text(checkup.check(files, prepared, facts, short=True)))
        prepared.save(folder.path)
        # While they load their libraries, the books and the store are opened.
        workers = most_side_by_side(devices) if asked.jobs == "auto" else len(devices)
        pool = stack.enter_context(workers_ahead(workers, stall_s=asked.stall_s))
        # Byte for byte: a submission must keep what this program does not understand.
        with finished(folder.template) as part:
            shutil.copyfile(files.template.path, part)
        remember_last(folder)

        made_by = {**environment_tags(), **code_tags(), "device": devices[0]}
        runs = StudyRuns(folder, workspace.tracking, made_by)
        drawn, tries = space, dict(first)
        if experiment.is_screened(len(space.backbones())):
            drawn, drafts = _screened(
                experiment, space, folder, workspace, finder, device=devices[0]
            )
            tries |= {f"screening: {draft.backbone}": draft for draft in drafts}
            runs.tracking.log_files(runs.parent, "screening", [folder.path / FILE])
        precisions = Precisions(
            info.bfloat16,
            file=folder.precisions,
            device=devices[0],
            num_threads=threads,
            cache=workspace.cache,
        )
        maker = RecipeBuilder(
            experiment, files.fingerprint, finder, asked.seed, precisions, folder.names()
        )
        if asked.jobs == "auto":
            devices, threads = pack_devices(
                [maker.guess(draft) for draft in drawn.corners()],
                devices,
                pool,
                memory_bytes=asked.memory_bytes,
                cache=workspace.cache,
            )
        books = StudyStore(
            folder,
            experiment,
            drawn,
            seed=asked.seed,
            runs=runs,
        )
        search = Search(
            folder,
            experiment,
            books,
            maker=maker,
            forecast=Forecast(num_train=len(prepared.rows("train")), num_scored=num_scored),
            settings=Settings(
                num_trials=asked.num_trials,
                devices=devices,
                threads_per_worker=threads,
                memory_bytes=asked.memory_bytes,
                cache=workspace.cache,
                deadline=None if asked.timeout_s is None else began + asked.timeout_s,
                stall_s=asked.stall_s,
                compiled=asked.compiled,
                stop_at_noise=asked.stop_at_noise,
            ),
            pool=pool,
        )
        if before := books.num_ended():
            ended = read_trials(folder)
            _, other = measured_alike(folder, ended, num_files=num_scored)
            if other:
                say(other)
        sheets = _sheets_beside(folder, space, prepared, runs)
        with (
            full_disk_told(folder.path, workspace.tracking),
            _changes_told(runs, folder.path, workspace.tracking),
        ):
            stopped = _sit(search, books, tries, sheets)
        return Outcome(folder, experiment, stopped, books.num_ended() - before)


def _screened(
    experiment: Experiment,
    space: Space,
    folder: StudyFolder,
    workspace: Workspace,
    finder: WeightsFinder,
    *,
    device: str,
) -> tuple[Space, list[SampledConfig]]:
    """Screen the backbones; return the space with those that go on, and what to try of them."""
    screening = screen(
        space,
        {name: experiment.views[name] for name in _views_used(space)},
        folder.path,
        rulebook=experiment.rulebook,
        finder=finder,
        cache=workspace.cache,
        device=device,
        num_threads=os.cpu_count() or 1,
    )
    for line in describe(screening):
        say(line)
    drawn = narrowed(space, screening)
    return drawn, first_drafts(drawn, screening)


def _sit(
    search: Search, books: StudyStore, first: Mapping[str, SampledConfig], sheets: Beside | None
) -> str:
    """Adopt what the last sitting left, and search; return why it stopped."""
    state: State = "interrupted"
    try:
        if restored := books.restore():
            say(f"The journal lacked {restored} trials: entered from their folders.")
        told, again = books.adopt()
        if told or again:
            say(
                f"The last search was cut off: {told} trials had ended and are kept, "
                f"{again} are asked again."
            )
        if mended := books.agree():
            say(f"MLflow lacked {mended} ended trials: written anew from their folders.")
        if other := books.other_code():
            before, now = map(describe_code, other)
            say(f"The study goes on with other code: {now}; its last trial was made by {before}.")
        for source, draft in first.items():
            books.start_from(draft, source)
        search.learn()
        if sheets is None:
            stopped = search.run()
        else:
            stopped = search.run(sheets.look)
            sheets.finish()
        state = "complete"
        return stopped
    finally:
        books.close(state)


def mend_runs(folder: StudyFolder, store: Path) -> None:
    """Write into the tracking store in folder `store` what it lacks of a study's ended trials.

    Raises:
        StudyError: the store cannot be used, or another process holds the study.
    """

    def made_by() -> dict[str, str]:
        return {**environment_tags(), **code_tags()}

    if mended := mend(folder, store, read_study(folder), made_by):
        say(f"MLflow lacked {mended} ended trials: written anew from their folders.")


@contextmanager
def _changes_told(runs: StudyRuns, folder: Path, store: Path) -> Iterator[None]:
    """Let an error of the body be what was done to its folders meanwhile, where something was.

    Rights to write there may be gone, or the tracking store.
    """
    try:
        yield
    except Exception as error:
        for place in (folder, store):
            require_writable(place)
        if runs.is_there():
            raise
        raise StudyError(
            f"The tracking store in {store} was removed while the search wrote to it. The same "
            "command goes on, and writes it anew."
        ) from error


def _sheets_beside(
    folder: StudyFolder, space: Space, prepared: prepare.Prepared, runs: StudyRuns
) -> Beside | None:
    """Return how the sheets of what the space does to samples are made, once a study."""
    if runs.tracking.has_files(runs.parent, AUGMENT_SHEETS):
        return None

    def make() -> list[Path]:
        sheets = write_augment_sheets(space, prepared, folder.path / AUGMENT_SHEETS)
        return [sheet.file for sheet in sheets]

    def record(files: Sequence[Path]) -> None:
        runs.tracking.log_files(runs.parent, AUGMENT_SHEETS, files)

    return Beside(make, record)


def _views_used(space: Space) -> list[str]:
    return list(dict.fromkeys(name for names in space.view_sets() for name in names))


def _check_same(
    folder: StudyFolder,
    experiment: Experiment,
    space: Space,
    experiment_file: Path,
    data_folder: Path,
    files: manifest.Manifest,
    seed: int,
    devices: Sequence[str],
) -> StudyInfo:
    """Return what the study is; a study that was begun must still be about the same.

    Raises:
        StudyError: experiment, space, data or seed changed since; says which.
    """
    about = {"experiment": experiment.model_dump(mode="json"), "space": space.tree}
    if not folder.info_file.exists():
        info = StudyInfo(
            name=folder.name,
            id=uuid.uuid4().hex,
            experiment=str(experiment_file),
            data=str(data_folder.resolve()),
            fingerprint=files.fingerprint,
            seed=seed,
            bfloat16=settled_for(devices),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        write_text(folder.experiment_file, yaml.safe_dump(about, sort_keys=False))
        folder.write_info(info)
        return info
    info = folder.info()
    # What an older version did not know of has its default. What the search space says is looked
    # at, not where it lies: its file may be moved.
    was = folder.experiment().model_dump(mode="json") | {"search_space": experiment.search_space}
    begun = {"experiment": was, "space": folder.begun()["space"]}
    changed = [f"its {part}" for part in about if about[part] != begun.get(part)]
    if info.fingerprint != files.fingerprint:
        what = f"was {info.fingerprint}, is {files.fingerprint}"
        if (folder.path / prepare.TABLE).exists():
            before = pd.read_parquet(folder.path / prepare.TABLE)
            what = manifest.changes(before, files.table) or what
        changed.append(f"its data ({what})")
    if info.seed != seed:
        changed.append(f"its seed (was {info.seed}, is {seed})")
    if changed:
        raise StudyError(
            f"The study {folder.name} was begun otherwise: {' and '.join(changed)} changed. "
            "Scores of different things cannot be ranked together: undo the change, or start "
            "another study by --study NAME."
        )
    return info
