"""The part of an experiment that is about its data: where it is, and which views are made of it."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, get_origin

from pydantic import BeforeValidator, Field, model_validator

from workbench.console import say
from workbench.data.delimited import quoted
from workbench.data.folds import Validation
from workbench.data.holdout import Holdout
from workbench.data.manifest import Layout
from workbench.errors import ConfigError, DataError
from workbench.media.views import AnyView
from workbench.values import Frozen
from workbench.workspace import Workspace
from workbench.yaml_files import build_said, read_yaml

NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
"""What names an experiment and a study: it becomes a folder."""


MOST_LETTERS = 64
"""Of a view's name, which becomes a file's with an ending: file systems end at 255 bytes."""


_SEVERAL = {k for k, f in Layout.model_fields.items() if get_origin(f.annotation) is tuple}
"""Keys of a layout whose value is a list."""


def _one_or_many(value: Any) -> Any:
    """Let YAML say `train_media: clips` for a list of one."""
    if isinstance(value, dict):
        return {k: (v,) if isinstance(v, str) and k in _SEVERAL else v for k, v in value.items()}
    return value


class Dataset(Frozen):
    """What an experiment says of its data."""

    name: str = Field(pattern=f"^{NAME}$")
    """Name of the experiment, and of its study unless `--study` gives another."""

    source: Literal["folder", "demo"] = "folder"
    """Which data is used without `--data`: none, so that `--data` must name it (`folder`), or the
    demo data that the program makes (`demo`)."""

    data: Annotated[Layout, BeforeValidator(_one_or_many)] = Layout()
    validation: Validation = Validation()
    """Which of the labelled files are used for validation."""

    views: dict[str, AnyView] = Field(min_length=1)
    """The views that a search space may name."""

    holdout: Holdout | None = None
    """Labelled files whose labels `workbench audit` alone reads."""

    @model_validator(mode="after")
    def _names_are_plain(self) -> "Dataset":
        for name in self.views:
            if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
                raise ValueError(
                    f"the view name {quoted(name)} may hold letters, digits, - and _ only"
                )
            if len(name) > MOST_LETTERS:
                raise ValueError(
                    f"the view name {quoted(name)} has {len(name)} letters: {MOST_LETTERS} at most"
                )
        counts = {view.num_segments for view in self.views.values()} - {1}
        if len(counts) > 1:
            # A model reads a segment of one view beside the same segment of another.
            raise ValueError(
                f"the views have different numbers of segments, {sorted(counts)}: give all the "
                "same number"
            )
        return self


def read_tree(path: Path) -> dict[Any, Any]:
    """Return the mapping that an experiment file holds, its keys unchecked.

    Raises:
        ConfigError: there is no such file, or it holds something else.
    """
    if not path.exists():
        folders = (path.parent, Path("experiments"))
        near = next(filter(None, (sorted(map(str, at.glob("[!.]*.yaml"))) for at in folders)), [])
        raise ConfigError(
            f"{path} does not exist. "
            + (f"There is {', '.join(near)}." if near else "Run this in the project's folder.")
        )
    tree = read_yaml(path)
    if not isinstance(tree, dict):
        raise ConfigError(f"{path} holds no `key: value` pairs. Start from experiments/demo.yaml.")
    return tree


def read_experiment_tree(path: Path) -> dict[Any, Any]:
    """Return `read_tree` of an experiment.

    Raises:
        ConfigError: as there, or the file is a recipe or a search space.
    """
    tree = read_tree(path)
    if "backbone" in tree and "search_space" not in tree:
        raise ConfigError(
            f"{path} is a recipe or a search space, not an experiment: it has `backbone` "
            f"and no `search_space`. Run a recipe by `workbench train {path} --data DIR`; "
            "name a search space by `search_space` in an experiment file."
        )
    return tree


def read_dataset(path: Path) -> Dataset:
    """Return what experiment file `path` says of its data; its other keys are not looked at.

    Raises:
        ConfigError: one line for each wrong key.
    """
    tree = read_experiment_tree(path)
    known = {key: value for key, value in tree.items() if key in Dataset.model_fields}
    dataset: Dataset = build_said(Dataset, known, where=str(path))
    return dataset


def check_data(dataset: Dataset, workspace: Workspace, data: Path | None) -> None:
    """Raise DataError unless there is a data folder, or one can be made.

    Paths are recorded as text, so none may hold bytes that are no UTF-8.
    """
    if data is None and dataset.source == "folder":
        raise DataError(
            f"The experiment {dataset.name} needs its data: give the folder by --data DIR."
        )
    if data is not None and not data.is_dir():
        raise DataError(f"The data folder {data} does not exist. Give an existing one by --data.")
    for folder in (workspace.root, *([] if data is None else [data])):
        name = str(folder.resolve())
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise DataError(
                f"The name of the folder {name} is not UTF-8 text. Rename it."
            ) from error


def find_data(dataset: Dataset, workspace: Workspace, data: Path | None) -> Path:
    """Return the data folder: `data` if given, else the demo, made if it is not there yet.

    Raises:
        DataError: see `check_data`.
    """
    check_data(dataset, workspace, data)
    if data is not None:
        return data
    from workbench.demo import build  # half a second, which other data need not wait for

    if not build.is_complete(workspace.demo_data):
        say(f"Making the demo data in {workspace.demo_data} (once, about two minutes).")
        build.make_demo(workspace.demo_data)
    return workspace.demo_data
