"""The commands about weights, from a file that one was given to a backbone that starts from it."""

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

from workbench.cli.main import app
from workbench.errors import WeightsError
from workbench.parts import backbones, wheels
from workbench.parts.pretrained import loader, resolve
from workbench.parts.torchvision_fix import import_timm

NAME = "test_resnet.r160_in1k"
STORE = Path("experiments/weights")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that the commands run in, where no package of weights is installed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(wheels, "installed", lambda wheel: None)
    return tmp_path


def run(*words: str) -> Result:
    return CliRunner().invoke(app, ["weights", *words])


def write(path: Path, model: str = "test_resnet") -> str:
    torch.save(import_timm().create_model(model).state_dict(), path)
    return str(path)


def test_weights_are_asked_for_brought_listed_checked_and_loaded(here: Path) -> None:
    with pytest.raises(WeightsError, match=f"`workbench weights add FILE --as {NAME}`"):
        resolve("test_resnet", "local", here / STORE)
    for command in ("list", "check"):
        empty = run(command)
        assert empty.exit_code == 0
        assert "no pretrained weights here" in empty.stdout
        assert "workbench weights add FILE --as NAME.TAG" in empty.stdout
    assert json.loads(run("list", "--json").stdout) == []

    added = run("add", write(here / "downloaded.bin"), "--as", NAME)
    assert added.exit_code == 0
    assert added.stdout.startswith(f"{NAME} loads from ")
    assert "saw ImageNet-1K" in added.stdout

    header, _, line = run("list").stdout.splitlines()
    assert header.split() == ["weights", "from", "saw", "MB", "sha256", "loads"]
    words = line.split()
    assert words[:3] == [NAME, f"{NAME}.pth", "in1k"]
    assert words[-1] == "yes"
    (one,) = json.loads(run("list", "--json").stdout)
    assert one["sha256"].startswith(words[4])
    checked = run("check", "test_resnet")
    assert checked.exit_code == 0
    assert checked.stdout.splitlines() == [added.stdout.splitlines()[0]]

    weights, sentence = resolve("test_resnet", "auto", here / STORE)
    assert weights.sha256 == one["sha256"]
    assert f"{NAME}.pth" in sentence
    backbones.create(
        "test_resnet", in_chans=1, image_px=64, weights=weights, load=loader(here / STORE)
    )


def test_bad_weights_are_a_line_and_exit_code_1(here: Path) -> None:
    run("add", write(here / "a.pth"), "--as", NAME)
    write(here / STORE / "test_vit.r160_in1k.pth")
    listed = run("list")
    assert listed.exit_code == 0
    assert [line.split()[-1] for line in listed.stdout.splitlines()[2:4]] == ["yes", "no"]
    checked = run("check")
    assert checked.exit_code == 1
    good, bad = checked.stdout.splitlines()
    assert good.startswith(f"{NAME} loads from ")
    assert bad.startswith("test_vit.r160_in1k is bad: ")
    assert "does not load into test_vit" in bad
    assert run("check", "test_resnet").exit_code == 0


def test_weights_that_nobody_knows_the_origin_of_are_named(here: Path) -> None:
    file = write(here / "own.pth")
    assert "add --pretraining" in run("add", file, "--as", "test_resnet").stdout
    told = run("add", file, "--as", "test_resnet", "--pretraining", "in1k")
    assert "add --pretraining" not in told.stdout
    assert "saw ImageNet-1K" in told.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["add", "nothing.pth", "--as", NAME], "nothing.pth does not exist"),
        (["add", "vit.pth"], "Say it by --as NAME.TAG"),
        (["add", "vit.pth", "--as", "resnet18.mine"], "no weights 'mine' of backbone resnet18"),
        (["add", "vit.pth", "--as", NAME], "does not load into test_resnet"),
        (["check", "resnet18"], "`workbench weights add FILE --as resnet18` brings them"),
    ],
)
def test_what_cannot_be_done_is_one_message(here: Path, words: list[str], said: str) -> None:
    write(here / "vit.pth", "test_vit")
    result = run(*words)
    assert result.exit_code == 1
    assert result.stderr.startswith("error: ")
    assert said in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert result.stdout == ""
