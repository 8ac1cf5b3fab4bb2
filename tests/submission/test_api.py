import json
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.submission.made_study import TrainedStudy
from workbench.errors import BundleError, ConfigError
from workbench.parts import hub, wheels
from workbench.parts.model_spec import ModelSpec
from workbench.parts.weights import Weights
from workbench.submission import api
from workbench.submission.api import Predictor, main
from workbench.submission.bundle import Bundle
from workbench.submission.verify import check_bundle

# Neither `site` nor the checkout: what pip installed from a package index is all there is.
ISOLATED = """
import json, runpy, sys
bundle, libraries, program, *arguments = sys.argv[1:]
sys.path[:0] = libraries.split("|")
try:
    import workbench
except ModuleNotFoundError:
    pass
else:
    sys.exit("the checkout is on the path: " + workbench.__file__)
sys.path.insert(0, bundle)
import predict
print(json.dumps([predict.predict(file) for file in json.loads(program)]))
sys.argv = ["predict.py", *arguments]
runpy.run_path(bundle + "/predict.py", run_name="__main__")
"""


def expected(bundle: Bundle) -> "pd.Series[float]":
    table = pd.read_csv(bundle.path / "predictions.csv").drop_duplicates("video_name")
    return table.set_index("video_name")["y_pred"]


def test_the_bundle_gives_the_same_numbers_where_the_project_is_not_installed(
    study: TrainedStudy, bundle: Bundle, own_bundle: Path, tmp_path: Path
) -> None:
    paths = sysconfig.get_paths()
    names = ["t1.mp4", "broken.mp4"]
    files = json.dumps([str(study.data / "testset" / name) for name in names])
    libraries = "|".join({paths["purelib"], paths["platlib"]})
    template, media = study.data / "prediction.txt.csv", study.data / "testset"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", ISOLATED, own_bundle, libraries, files,
         "--template", template, "--media", media, "--out", tmp_path / "filled.csv"],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == pytest.approx(expected(bundle)[names].tolist(), abs=1e-5)
    filled = pd.read_csv(tmp_path / "filled.csv")
    exported = pd.read_csv(bundle.path / "predictions.csv")
    assert filled["y_pred"].to_numpy() == pytest.approx(exported["y_pred"].to_numpy(), abs=1e-5)
    others = ["video_name", "phase"]
    assert filled[others].equals(exported[others])
    assert filled.columns.tolist() == exported.columns.tolist()
    check_bundle(own_bundle)  # it has left no bytecode in itself


def test_every_file_has_its_stored_score_whatever_its_neighbours(
    study: TrainedStudy, bundle: Bundle, capfd: pytest.CaptureFixture[str]
) -> None:
    predictor = Predictor(bundle.path)
    stored = expected(bundle)
    paths = [study.data / "testset" / name for name in stored.index]
    assert predictor.predict_many(paths) == pytest.approx(stored.tolist(), abs=1e-5)
    assert predictor.predict_many(paths * 3) == pytest.approx(stored.tolist() * 3, abs=1e-5)
    assert predictor.predict(str(paths[1])) == pytest.approx(stored.iloc[1], abs=1e-5)
    said = capfd.readouterr().err
    assert "mute.mp4" in said
    assert "a neutral picture stands for its mel" in said
    assert "t0.mp4" not in said


def test_no_pretrained_weights_are_looked_up(
    own_bundle: Path, bundle: Bundle, study: TrainedStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = ModelSpec.model_validate_json((own_bundle / "model.json").read_text())
    weights = Weights(source="hub", name="resnet10t.c3_in1k", sha256="0" * 64, pretraining="in1k")
    pretrained = spec.model_copy(update={"weights": weights})
    (own_bundle / "model.json").write_text(pretrained.model_dump_json())

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("weights were looked up")

    monkeypatch.setattr(wheels, "find_in_wheels", refuse)
    for module, name in ((hub, "fetch"), (hub, "look"), (hub, "cached")):
        monkeypatch.setattr(module, name, refuse)
    score = Predictor(own_bundle).predict(study.data / "testset" / "t0.mp4")
    assert score == pytest.approx(expected(bundle)["t0.mp4"], abs=1e-5)


def test_weights_that_do_not_fit_the_model_spec_are_refused(own_bundle: Path) -> None:
    spec = json.loads((own_bundle / "model.json").read_text())
    (own_bundle / "model.json").write_text(json.dumps(spec | {"backbone": "resnet14t"}))
    with pytest.raises(BundleError, match="cannot be built"):
        Predictor(own_bundle)


def test_a_model_that_gives_no_number_writes_no_scores(
    own_bundle: Path, study: TrainedStudy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = {
        name: tensor * torch.nan if name.startswith("head") else tensor
        for name, tensor in load_file(own_bundle / "model.safetensors").items()
    }
    save_file(weights, own_bundle / "model.safetensors")
    clip = study.data / "testset" / "t0.mp4"
    arguments = [str(clip), "--out", str(tmp_path / "out.csv"), "--jobs", "0"]
    assert main(own_bundle, arguments) == 1
    assert "The model gives no number of" in capsys.readouterr().err
    assert not (tmp_path / "out.csv").exists()


def test_a_name_that_is_too_long_to_write_to_is_told(
    bundle: Bundle, study: TrainedStudy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip, out = study.data / "testset" / "t0.mp4", tmp_path / ("x" * 300)
    assert main(bundle.path, [str(clip), "--out", str(out), "--jobs", "0"]) == 1
    assert "cannot be written: File name too long" in capsys.readouterr().err


def test_absent_weights_are_refused(own_bundle: Path) -> None:
    (own_bundle / "model.safetensors").unlink()
    with pytest.raises(BundleError, match=r"model\.safetensors"):
        Predictor(own_bundle)


def test_an_unknown_device_is_refused(bundle: Bundle) -> None:
    with pytest.raises(ConfigError, match="'gpu' is no torch device"):
        Predictor(bundle.path, "gpu")


def test_rows_are_named_by_file_and_by_path_where_names_repeat(
    study: TrainedStudy, bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = study.data / "testset" / "t0.mp4"
    same = tmp_path / "t0.mp4"
    shutil.copy(clip, same)
    other = study.data / "testset" / "t1.mp4"
    out = tmp_path / "out.csv"
    arguments = [str(clip), str(other), str(same), "--out", str(out)]
    out.write_text("video_name,y_pred\nearlier.mp4,0.12345678901\n")
    assert main(bundle.path, arguments) == 1  # of other files
    assert "exists and holds no predictions of the same files" in capsys.readouterr().err
    out.unlink()
    assert main(bundle.path, arguments) == 0
    assert "held earlier" not in capsys.readouterr().err
    assert main(bundle.path, arguments) == 0
    assert f"{out} held earlier predictions: they were replaced." in capsys.readouterr().err
    scores = pd.read_csv(out)
    assert scores.columns.tolist() == ["video_name", "y_pred"]
    assert scores["video_name"].tolist() == [str(clip), "t1.mp4", str(same)]
    stored = expected(bundle)[["t0.mp4", "t1.mp4", "t0.mp4"]]
    assert scores["y_pred"].tolist() == pytest.approx(stored.tolist(), abs=1e-5)


@pytest.mark.parametrize(
    "arguments", [[], ["a.mp4", "--template", "t.csv", "--media", "m"], ["--template", "t.csv"]]
)
def test_files_and_template_exclude_each_other(bundle: Bundle, arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(bundle.path, [*arguments, "--out", "unused.csv"])
    assert stop.value.code == 2


def test_an_error_is_one_line_and_exit_code_1(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    absent = str(tmp_path / "absent")
    arguments = ["--template", absent, "--media", absent, "--out", str(tmp_path / "out.csv")]
    assert main(bundle.path, arguments) == 1
    assert capsys.readouterr().err.startswith(f"error: {absent} is not a folder.")


def test_names_that_the_locale_has_no_letters_for_are_told(
    bundle: Bundle,
    study: TrainedStudy,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As with LC_ALL=C, PYTHONUTF8=0 and PYTHONCOERCECLOCALE=0, where each call does so."""

    def find_files(*arguments: object, **more: object) -> None:
        "t\xfcst.mp4".encode("ascii")

    monkeypatch.setattr(api, "find_files", find_files)
    arguments = ["--template", str(study.folder.template), "--media", str(study.data / "testset")]
    assert main(bundle.path, [*arguments, "--out", str(tmp_path / "out.csv")]) == 1
    assert capsys.readouterr().err == (
        "error: a file is called 't\\xfcst.mp4', and names of files are ascii here. Set "
        "PYTHONUTF8=1 in the environment.\n"
    )


def test_a_bundle_does_not_run_on_another_copy_of_its_code(own_bundle: Path) -> None:
    program = (
        "import sys, workbench.submission.api; "
        f"sys.path[:0] = [{str(own_bundle)!r}]; import predict"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=root
    )
    assert done.returncode == 1
    assert "was imported from" in done.stderr
