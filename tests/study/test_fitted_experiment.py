"""An experiment made for a data folder and a machine: it is read, fits, and overwrites nothing."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from tests.data.test_layouts import of_classes, put
from workbench.data.inspection import inspect_data
from workbench.errors import ConfigError, StudyError
from workbench.files import write_text
from workbench.searching import fitted_experiment
from workbench.searching.fitted_experiment import (
    FittedExperiment,
    fit_experiment,
    name_of,
    named_or_fitted,
    write_fitted,
)
from workbench.searching.fitted_texts import LARGER, SMALL, Machine, experiment_text, space_text
from workbench.searching.options import RunOptions
from workbench.space.experiment import read_experiment
from workbench.study.folder import StudyFolder, StudyInfo, new_or_known
from workbench.workspace import Workspace

LAPTOP = Machine("2 CPU cores", is_gpu=False, memory_gib=8, at_hand=SMALL[:2])
SERVER = Machine("NVIDIA H100", is_gpu=True, memory_gib=80, at_hand=(*SMALL, *LARGER))
BARE = Machine("1 CPU core", is_gpu=False, memory_gib=2, at_hand=())


def fitted(data: Path, machine: Machine, name: str = "mine") -> FittedExperiment:
    found = inspect_data(data)
    about = experiment_text(found, machine, name, str(data))
    return FittedExperiment(name, found, machine, about, space_text(found, machine, name))


@pytest.mark.parametrize("machine", [LAPTOP, SERVER, BARE], ids=["laptop", "server", "bare"])
@pytest.mark.parametrize(
    ("ending", "views"),
    [("wav", {"mel", "logspec"}), ("png", {"image"}), ("mp4", {"mel", "frames"})],
)
def test_it_is_read_and_has_the_views_of_the_media(
    tmp_path: Path, machine: Machine, ending: str, views: set[str]
) -> None:
    names = [f"{place}/{n}.{ending}" for place in ("real", "fake") for n in range(5)]
    made = fitted(put(tmp_path / "d", *names), machine)
    experiment, space = made.read()
    assert set(experiment.views) == views
    assert {name for drawn in space.view_sets() for name in drawn} == views
    assert experiment.validation.kind == "stratified"
    assert experiment.data == made.found.layout
    few = {"tf_efficientnet_lite0", "tf_efficientnet_lite1"}
    assert set(space.backbones()) == ({*SMALL, *LARGER} if machine.is_gpu else few)
    least = space.least_image_px()
    assert least >= 160 if machine.is_gpu else least <= 128


def test_a_column_without_a_name_is_written_too(tmp_path: Path) -> None:
    """As pandas writes the index of a table, where that holds the files' names."""
    data = put(tmp_path / "d", *(f"m/clip{n}.wav" for n in range(8)))
    rows = "".join(f"clip{n}.wav,{n % 2}\n" for n in range(8))
    (data / "labels.csv").write_text(f",label\n{rows}", encoding="utf-8")
    made = fitted(data, LAPTOP)
    assert made.read()[0].data == made.found.layout
    assert made.found.num_labelled == 8


def test_media_of_several_kinds_are_read_together(tmp_path: Path) -> None:
    names = [
        f"{place}/{n}.{end}" for place in ("real", "fake") for n in (1, 2) for end in ("wav", "png")
    ]
    _, space = fitted(put(tmp_path / "d", *names), LAPTOP).read()
    assert space.view_sets() == [("mel", "image")]


def test_it_is_written_once_and_read_as_what_it_was(tmp_path: Path) -> None:
    made = fitted(of_classes(tmp_path / "d", "real", "fake"), LAPTOP)
    about, space = write_fitted(made, tmp_path)
    assert read_experiment(about)[0] == made.read()[0]
    assert read_experiment(about)[1].tree == made.read()[1].tree
    space.unlink()
    with pytest.raises(ConfigError, match="exists, and nothing is overwritten"):
        write_fitted(made, tmp_path)
    assert not space.exists()


def test_what_was_cut_off_between_its_two_files_is_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = fitted(of_classes(tmp_path / "d", "real", "fake"), LAPTOP)
    with monkeypatch.context() as patched:

        def killed(path: Path, text: str) -> None:
            if path.parent.name == "experiments":
                raise KeyboardInterrupt
            write_text(path, text)

        patched.setattr(fitted_experiment, "write_text", killed)
        with pytest.raises(KeyboardInterrupt):
            write_fitted(made, tmp_path)
    about, space = write_fitted(made, tmp_path)
    assert about.read_text() == made.experiment
    about.unlink()
    space.write_text(made.space + "# mine\n")
    with pytest.raises(ConfigError, match="exists, and nothing is overwritten"):
        write_fitted(made, tmp_path)
    assert space.read_text().endswith("# mine\n") and not about.exists()


def test_names_of_strangers_stay_in_comments_and_values(tmp_path: Path) -> None:
    data = of_classes(tmp_path / "a\nname: evil", "real: x", "fake # y")
    made = fitted(data, LAPTOP)
    experiment, _ = made.read()
    assert experiment.name == "mine"
    assert experiment.data.classes.fake == ("fake # y",)
    with_notes = replace(made.found, remarks=("odd\x1b[31m\nname: evil",))
    assert "\x1b" not in experiment_text(with_notes, LAPTOP, "mine", "d")
    assert "\nname: evil" not in experiment_text(with_notes, LAPTOP, "mine", "d")


@pytest.mark.parametrize(
    ("folder", "name"),
    [("faces", "faces"), ("My data (2)", "My-data-2"), ("weights", "data-weights"), ("ß", "data")],
)
def test_an_experiment_is_called_as_its_folder(tmp_path: Path, folder: str, name: str) -> None:
    assert name_of(tmp_path / folder, Workspace(tmp_path)) == name


def test_no_study_is_called_as_a_folder_of_somebodys_files(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    data = of_classes(workspace.studies / "sounds", "real", "fake")
    before = sorted(place.name for place in data.iterdir())
    assert fit_experiment(data, workspace, device="cpu").name == "data-sounds"
    with pytest.raises(StudyError, match=r"sounds is no study and has files .* e\.g\. 'fake'"):
        new_or_known(workspace.studies, "sounds")
    assert sorted(place.name for place in data.iterdir()) == before
    # What was written for this name is not passed over.
    write_text(workspace.studies / "sounds.yaml", "name: sounds\n")
    with pytest.raises(StudyError, match="sounds is no study and has files"):
        named_or_fitted(None, workspace, RunOptions(num_trials=1, data=data, device="cpu"))


def test_a_search_without_an_experiment_makes_one_or_takes_the_written_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = of_classes(tmp_path / "sounds", "real", "fake")
    workspace, options = Workspace(tmp_path), RunOptions(num_trials=1, data=data, device="cpu")
    experiment, space, file = named_or_fitted(None, workspace, options)
    assert (experiment.name, str(file)) == ("sounds", "experiments/sounds.yaml")
    assert "No experiment is named, so one is made" in capsys.readouterr().err
    assert not (tmp_path / "experiments").exists()
    write_fitted(fit_experiment(data, workspace, device="cpu"), tmp_path)
    again, space_again, _ = named_or_fitted(None, workspace, options)
    assert (again, space_again.tree) == (experiment, space.tree)
    assert "it is taken as the experiment" in capsys.readouterr().err


def test_a_begun_study_goes_on_with_what_it_began_with(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data = of_classes(tmp_path / "sounds", "real", "fake")
    workspace, options = Workspace(tmp_path), RunOptions(num_trials=1, data=data, device="cpu")
    experiment, space = fitted(data, SERVER, "sounds").read()  # begun on another machine
    study = StudyFolder(workspace.studies / "sounds")
    about = {"experiment": experiment.model_dump(mode="json"), "space": space.tree}
    study.path.mkdir(parents=True)
    study.experiment_file.write_text(yaml.safe_dump(about), encoding="utf-8")
    study.write_info(
        StudyInfo(
            name="sounds", id="0", experiment="e", data="d", fingerprint="f", seed=0, created=""
        )
    )
    again, space_again, _ = named_or_fitted(None, workspace, options)
    assert again.model_dump(mode="json") == about["experiment"]
    assert space_again.tree == space.tree
    assert "understood otherwise" not in capfd.readouterr().err
    # Speakers that are told later keep no files together in this study.
    rows = (f"{place}/{place[-1]}{n}.wav,s{n}\n" for place in ("real", "fake") for n in range(6))
    (data / "metadata.csv").write_text("file,speaker\n" + "".join(rows))
    again, *_ = named_or_fitted(None, workspace, options)
    assert again.data.groups == ()
    said = "understood otherwise now (`data.groups` was [], is ['speaker']; and 1 more). The study"
    assert said in " ".join(capfd.readouterr().err.split())
