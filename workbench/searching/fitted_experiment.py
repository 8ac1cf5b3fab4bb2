"""An experiment and a search space made for a data folder and the machine at hand."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.access import require_writable
from workbench.console import say
from workbench.data.dataset import NAME
from workbench.data.guessed_columns import Answers
from workbench.data.inspection import Inspection, inspect_data
from workbench.errors import ConfigError, DataError, WeightsError
from workbench.fence import num_cores
from workbench.files import write_text
from workbench.parts import hub
from workbench.parts.pretrained import resolve
from workbench.parts.weights import published
from workbench.searching.devices import choose_seats
from workbench.searching.fitted_texts import LARGER, SMALL, Machine, experiment_text, space_text
from workbench.searching.options import RunOptions
from workbench.space.experiment import Experiment, read_experiment
from workbench.space.space import Space, read_tree_as_space, require_backbones
from workbench.study.folder import StudyFolder, new_or_known
from workbench.study.since_begun import differences
from workbench.trial.device import called, is_cuda, memory_of
from workbench.workspace import RESERVED_NAMES, Workspace
from workbench.yaml_files import build_said, parse_yaml

DEMO = Path("experiments/demo.yaml")


@dataclass(frozen=True)
class FittedExperiment:
    """The two files of an experiment, as texts."""

    name: str
    found: Inspection
    machine: Machine
    experiment: str
    space: str

    def read(self) -> tuple[Experiment, Space]:
        """Return the experiment and the search space that the texts say."""
        where = f"experiments/{self.name}.yaml"
        tree: Any = parse_yaml(self.experiment, where=where)
        experiment: Experiment = build_said(Experiment, tree, where=where)
        where = f"search_spaces/{self.name}.yaml"
        tree = parse_yaml(self.space, where=where)
        views = experiment.views
        space = read_tree_as_space(tree, where, tuple(views), experiment.rulebook)
        require_backbones(space, views)
        return experiment, space


def fit_experiment(
    data: Path,
    workspace: Workspace,
    *,
    name: str | None = None,
    device: str = "auto",
    answers: Answers | None = None,
) -> FittedExperiment:
    """Return an experiment and a search space that fit a data folder and this machine.

    By default it has the data folder's name, as far as that can be one. `answers` are what a person
    says of the data.

    Raises:
        DataError: the folder is laid out in no way that is known, or holds no two classes.
        StudyError: there is no such device, or the name cannot be a study's.
    """
    name = new_or_known(workspace.studies, name or name_of(data, workspace)).name
    found = inspect_data(data, answers)
    machine = this_machine(workspace, device)
    about = experiment_text(found, machine, name, str(data))
    fitted = FittedExperiment(name, found, machine, about, space_text(found, machine, name))
    fitted.read()
    return fitted


def this_machine(workspace: Workspace, device: str) -> Machine:
    """Return what a search here runs on."""
    first = choose_seats(device, None).devices[0]
    cores = num_cores()
    is_gpu = is_cuda(first)
    return Machine(
        called=called(first) if is_gpu else f"{cores} CPU core{'s' if cores > 1 else ''}",
        is_gpu=is_gpu,
        memory_gib=memory_of(first).total / 2**30,
        at_hand=at_hand((*SMALL, *LARGER), workspace.weights),
    )


def name_of(data: Path, workspace: Workspace) -> str:
    """Return the name of an experiment about a data folder: the folder's, in plain letters.

    Where no experiment has that name, it is none by which a study would lie among somebody's files,
    as among the data.
    """
    name = _called_as(data)
    is_written = (workspace.studies / f"{name}.yaml").exists()
    if not is_written and StudyFolder(workspace.studies / name).anothers_file():
        return f"data-{name}"[:64]
    return name


def _called_as(data: Path) -> str:
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", data.resolve().name).strip("._-")[:60].rstrip("._-")
    if not re.fullmatch(NAME, plain) or plain in RESERVED_NAMES:
        plain = f"data-{plain}".rstrip("-") if plain else "data"
    return plain


def write_fitted(fitted: FittedExperiment, root: Path) -> tuple[Path, Path]:
    """Write both files below `root`, and return where they are: the experiment, and its space.

    The experiment comes last, so that none is there without its space; a space with these words, as
    one that was cut off leaves it, is taken.

    Raises:
        ConfigError: one of them is there, and says other things.
        AccessError: one of them cannot be written.
    """
    files = {
        root / "search_spaces" / f"{fitted.name}.yaml": fitted.space,
        root / "experiments" / f"{fitted.name}.yaml": fitted.experiment,
    }
    space, about = files
    for path in files:
        left = path == space and not about.exists() and _says(path, fitted.space)
        if (path.exists() or path.is_symlink()) and not left:
            raise ConfigError(
                f"{path} exists, and nothing is overwritten. Name another experiment by --name, or "
                "remove the file."
            )
        require_writable(path)
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text)
    return about, space


def _says(path: Path, text: str) -> bool:
    """Return whether a file is there, and holds this text."""
    return path.is_file() and not path.is_symlink() and path.read_bytes() == text.encode()


def named_or_fitted(
    file: Path | None, workspace: Workspace, options: RunOptions
) -> tuple[Experiment, Space, Path]:
    """Return the experiment of a search, its search space, and the experiment's file.

    Where only a data folder is named, a study that was begun goes on with what it began with,
    whatever machine it goes on on; else an experiment of the folder's name counts, which may be
    what `workbench init` wrote; else one is made in memory.

    Raises:
        WorkbenchError: see `read_experiment` and `fit_experiment`.
    """
    if file is not None or options.data is None:
        place = workspace.root / DEMO if file is None else file
        return (*read_experiment(place), file or DEMO)
    name = name_of(options.data, workspace)
    file = Path("experiments") / f"{name}.yaml"
    folder = new_or_known(workspace.studies, options.study or name)
    if folder.info_file.exists() and folder.experiment().name in (name, _called_as(options.data)):
        if (workspace.root / file).exists():
            say(
                f"The study {folder.name} goes on with what it began with. For changes of {file}: "
                f"workbench search {file} --data {options.data}"
            )
        else:
            _tell_what_changed(folder, options.data)
        experiment, tree = folder.experiment(), folder.begun()["space"]
        where = str(folder.experiment_file)
        space = read_tree_as_space(tree, where, tuple(experiment.views), experiment.rulebook)
        return experiment, space, file
    if (workspace.root / file).exists():
        say(f"{file} has the name of the data folder, so it is taken as the experiment.")
        return (*read_experiment(workspace.root / file), file)
    fitted = fit_experiment(options.data, workspace, device=options.device)
    say(f"No experiment is named, so one is made for {options.data}.")
    for line in (*fitted.found.about(), fitted.machine.sentence):
        say(line)
    say(f"`workbench init {options.data}` writes it to {file}, to be read and changed.")
    return (*fitted.read(), file)


def _tell_what_changed(folder: StudyFolder, data: Path) -> None:
    """Say how a data folder would be understood otherwise than when a study began, if it would."""
    try:
        found = inspect_data(data)
    except (DataError, PermissionError):  # what the study cannot do without, it asks for itself
        return
    begun = folder.experiment()
    keys = (
        ("data", begun.data, found.layout),
        ("validation", begun.validation, found.validation),
    )
    changed = [
        line
        for key, was, now in keys
        for line in differences(was.model_dump(mode="json"), now.model_dump(mode="json"), key)
    ]
    if changed:
        more = f"; and {len(changed) - 1} more" if len(changed) > 1 else ""
        say(
            f"warning: {data} would be understood otherwise now ({changed[0]}{more}). The study "
            f"{folder.name} goes on with what it began with; for the other, start a study by "
            "--study NAME."
        )


def at_hand(backbones: Iterable[str], store: Path) -> tuple[str, ...]:
    """Return the backbones whose weights are in the store, in a package or in the hub's cache.

    They are timm's names, with or without tags; the store may be absent.
    """
    return tuple(name for name in backbones if _is_at_hand(name, store))


def _is_at_hand(backbone: str, store: Path) -> bool:
    try:
        resolve(backbone, "local", store)
    except WeightsError:
        place = hub.locate(published(backbone))
        return place is not None and hub.cached(place) is not None
    return True
