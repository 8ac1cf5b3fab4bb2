"""The command line: which commands and options there are, and how each says what is wrong."""

import errno
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner, Result

from tests.study.tiny import SPACE, write_experiment
from workbench.api.study import Study
from workbench.cli import shared
from workbench.cli.main import app
from workbench.errors import WorkbenchError
from workbench.study.folder import StudyFolder, StudyInfo, remember_last

# A new command or option is a decision: it is written here, and in docs/commands.md.
SURFACE: dict[str, list[str]] = {
    "init": [
        "data",
        "--name",
        "--table",
        "--file-column",
        "--label-column",
        "--split-column",
        "--fake",
        "--real",
        "--device",
    ],
    "search": [
        "experiment",
        "--trials",
        "--study",
        "--data",
        "--slice",
        "--start-from",
        "--seed",
        "--jobs",
        "--device",
        "--memory",
        "--compile",
        "--strict",
        "--timeout",
        "--stop-at-noise",
        "--pack",
        "--finalists",
        "--stall",
        "--runner",
        "--address",
        "--shared",
        "--trial-cpus",
        "--trial-gpus",
        "--no-lock",
    ],
    "train": [
        "recipe",
        "--data",
        "--set",
        "--study",
        "--seed",
        "--device",
        "--memory",
        "--compile",
        "--no-lock",
    ],
    "prepare": [
        "experiment",
        "--data",
        "--jobs",
        "--limit",
        "--retry",
        "--verify",
        "--strict",
        "--no-lock",
    ],
    "check": ["experiment", "--data", "--json", "--strict", "--no-lock"],
    "show": ["experiment", "--data", "--samples", "--no-lock"],
    "finalists": [
        "study",
        "--top",
        "--seeds",
        "--pack",
        "--jobs",
        "--device",
        "--memory",
        "--compile",
        "--timeout",
        "--stall",
        "--json",
        "--no-lock",
    ],
    "compare": ["study", "--json", "--top"],
    "ui": ["study", "--host", "--port", "--no-lock"],
    "pack": [
        "studies",
        "--limit",
        "--ms-per-file",
        "--members",
        "--joint",
        "--soups",
        "--json",
        "--no-lock",
    ],
    "promote": ["study", "--trial", "--pack", "--soup", "--json", "--no-lock"],
    "soup": ["study", "--trials", "--greedy", "--device", "--json", "--no-lock"],
    "refit": ["study", "--device", "--json", "--no-lock"],
    "audit": ["study", "--trial", "--device", "--json", "--no-lock"],
    "export": [
        *("study", "--out", "--allow-missing", "--calibrated", "--refit"),
        *("--verify", "--data", "--wheels", "--installed"),
    ],
    "retrain": [
        "bundle",
        "--data",
        "--out",
        "--device",
        "--weights",
        "--slice",
        "--tolerance",
        "--all-seeds",
        "--json",
    ],
    "predict": ["bundle", "files", "--out", "--frames", "--device"],
    "verify": [
        *("bundle", "--data", "--wheels", "--installed", "--device", "--out", "--json"),
    ],
    "score": ["predictions", "labels", "--json"],
    "studies": ["--delete", "--yes", "--json", "--no-lock"],
    "clean": ["study", "--keep", "--dry-run", "--yes", "--json", "--no-lock"],
    "study-export": ["study", "--out", "--no-lock"],
    "study-import": ["archive", "--trust-plugins", "--no-lock"],
    "demo-data": ["folder", "--seed"],
    "keys": ["word"],
    "backbones": [
        "--check",
        "--experiment",
        "--limit",
        "--pretrained",
        "--sort",
        "--image-px",
        "--memory",
        "--batch",
        "--families",
        "--top",
        "--excluded",
        "--json",
    ],
    "weights list": ["--json"],
    "weights add": ["file", "--as", "--pretraining", "--replace"],
    "weights check": ["name"],
}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that the command runs in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def commands() -> dict[str, Any]:
    """Every command by the words that call it."""
    found: dict[str, Any] = {}
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        below = getattr(command, "commands", None)
        found |= {f"{name} {sub}": one for sub, one in below.items()} if below else {name: command}
    return found


def run(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def assert_refused(result: Result, said: str, *, code: int = 1) -> None:
    """Check for an expected error: few sentences on stderr, no traceback."""
    assert result.exit_code == code, result.output
    assert said in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr
    assert result.exception is None or isinstance(result.exception, SystemExit)
    if code == 1:
        assert result.stderr.startswith("error: ")
        assert len(result.stderr) < 500
        assert len(result.stderr.strip().splitlines()) == 1


def test_the_commands_and_options_are_these() -> None:
    found = {
        name: [p.opts[0] for p in command.params if p.name != "help"]
        for name, command in commands().items()
    }
    assert found == SURFACE


@pytest.mark.parametrize("command", SURFACE)
def test_each_command_has_help_and_says_what_each_option_is_for(command: str) -> None:
    result = run(*command.split(), "--help")
    assert result.exit_code == 0
    for parameter in commands()[command].params:
        assert parameter.help, f"{command} {parameter.opts[0]}"


def test_help_is_shown_where_nothing_is_asked() -> None:
    assert "demo-data" in run().output


@pytest.mark.parametrize(
    "words",
    [
        ["serach"],
        ["search", "--trails", "3"],
        ["search", "--trials", "0"],
        ["search", "--trials", "many"],
        ["search", "--jobs", "0"],
        ["search", "--jobs", "many"],
        ["search", "--jobs", "²"],
        ["search", "--seed", "-1"],
        ["search", "--seed", "2147483648"],
        ["train", "recipe.yaml", "--data", "data", "--seed", "4294967296"],
        ["search", "--timeout", "10"],
        ["search", "--memory", "2"],
        ["search", "--memory", "0MiB"],
        ["search", "--timeout", "10 minutes"],
        ["search", "--timeout", "-5m"],
        ["search", "a.yaml", "b.yaml"],
        ["compare", "--top", "0"],
        ["promote", "--trial", "-1"],
        ["promote", "--trial", "1", "--pack"],
        ["pack", "--limit", "12X"],
        ["predict"],
        ["predict", "bundle", "a.mp4"],
        ["verify", "bundle"],
        ["verify", "bundle", "--data", "data", "--wheels", "wheels", "--installed"],
        ["export", "--installed"],
        ["score", "a.csv"],
        ["demo-data"],
        ["backbones", "--top", "0"],
        ["backbones", "--check", "resnet18", "--limit", "40M"],
        ["backbones", "--check", "resnet18", "--top", "3"],
        ["search", "--compile", "auto"],
        ["ui", "--port", "70000"],
        ["weights", "add"],
        ["weights", "remove"],
    ],
    ids=" ".join,
)
def test_bad_usage_exits_2(words: list[str]) -> None:
    result = run(*words)
    assert result.exit_code == 2
    assert "Traceback" not in result.output
    assert "Usage: " in result.stderr


def test_a_bad_setting_of_compile_is_told_like_every_other() -> None:
    said = " ".join(run("search", "--compile", "auto").stderr.split())
    assert "'auto' is no setting of --compile: write on or off." in said


@pytest.mark.parametrize("name", [b"\xff", b"\xff/inner"])
@pytest.mark.parametrize("command", ["search", "prepare"])
def test_a_data_folder_of_a_name_that_is_no_text_is_told(
    here: Path, command: str, name: bytes
) -> None:
    write_experiment(here)
    data = here / os.fsdecode(name)
    data.mkdir(parents=True)
    result = run(command, "experiments/tiny.yaml", "--data", str(data))
    assert_refused(result, "is not UTF-8 text. Rename it.")


def test_a_time_span_that_is_none_is_answered_by_examples() -> None:
    assert "write e.g. 90s, 30m or 8h" in " ".join(run("search", "--timeout", "10").stderr.split())


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90.0), ("30m", 1800.0), ("1.5h", 5400.0), (None, None)]
)
def test_a_time_span_is_read_in_its_unit(text: str | None, seconds: float | None) -> None:
    assert shared.seconds(text) == seconds


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["search"], "experiments/demo.yaml does not exist. Run this in the project's folder."),
        (["search", "x.yaml"], "x.yaml does not exist"),
        (["search", "--data", "."], "not laid out in a known way"),
        (["init", "."], "not laid out in a known way"),
        (["init", "nowhere"], "data folder nowhere does not exist"),
        (["compare"], "There is no study yet. Run `workbench search` first."),
        (["compare", "mine"], "There is no study 'mine'"),
        (["compare", "--json"], "There is no study yet"),
        (["promote"], "There is no study yet"),
        (["study-import", "nothing.tar"], "nothing.tar cannot be read: no such file"),
        (["study-import", "."], ". cannot be read: is a directory"),
        (["export"], "There is no study yet"),
        (["ui"], "There is no study yet. Run `workbench search` first."),
        (["predict", "nothing", "a.mp4", "--out", "a.csv"], "nothing"),
        (["verify", "nothing", "--data", "."], "nothing is no bundle"),
        (["score", "a.csv", "b.csv"], "a.csv does not exist"),
        (["backbones", "--check", "resnet19"], "'resnet19' is not a model of timm"),
        (["backbones", "--check", "resnet18.in3k"], "no weights 'in3k' of backbone resnet18"),
        (["backbones", "--check", "resnet18", "--experiment", "x.yaml"], "x.yaml does not exist"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_an_expected_error_is_one_message_on_stderr_and_exit_code_1(
    words: list[str], said: str
) -> None:
    result = run(*words)
    assert_refused(result, said)
    assert result.stdout == ""


def begun_study(root: Path) -> StudyFolder:
    folder = StudyFolder(root / "experiments" / "mine")
    folder.write_info(
        StudyInfo(
            name="mine", id="0", experiment="e", data="d", fingerprint="f", seed=0, created="now"
        )
    )
    remember_last(folder)
    return folder


@pytest.mark.parametrize(("host", "warned"), [("127.0.0.1", False), ("0.0.0.0", True)])
def test_who_opens_the_runs_to_others_is_warned(
    here: Path, monkeypatch: pytest.MonkeyPatch, host: str, *, warned: bool
) -> None:
    begun_study(here)
    monkeypatch.setattr("workbench.tracking.runs.find_page", lambda *_: "/#/page")
    monkeypatch.setattr("workbench.tracking.ui.ui_command", lambda *_, **__: [])
    monkeypatch.setattr("workbench.tracking.ui.serve", lambda *_: 0)
    result = run("ui", "--host", host)
    assert result.exit_code == 0
    said = "can read, change and delete all runs: there is no password." in result.stderr
    assert said is warned


def test_a_study_without_trials_is_an_expected_error(here: Path) -> None:
    begun_study(here)
    for command in ("compare", "promote"):
        assert_refused(run(command), "The study mine has no trials yet")


def test_a_study_without_a_champion_cannot_be_exported(here: Path) -> None:
    begun_study(here)
    assert_refused(run("export"), "The study mine has no champion yet. Run `workbench promote`")


def test_a_search_without_its_data_is_an_expected_error(here: Path) -> None:
    file = str(write_experiment(here))
    assert_refused(run("search", file), "give the folder by --data DIR")
    assert_refused(run("search", file, "--data", "nowhere"), "data folder nowhere does not exist")
    assert_refused(run("search", file, "--device", "tpu", "--data", "."), "--device tpu is not")
    assert_refused(run("search", file, "--study", "a/b", "--data", "."), "'a/b' cannot be used")


def test_each_wrong_key_of_a_file_is_a_line(here: Path) -> None:
    file = write_experiment(here, {**SPACE, "dropuot": 0.1, "image_px": 8})
    result = run("search", str(file), "--data", ".")
    assert result.exit_code == 1
    first, second = result.stderr.strip().splitlines()
    assert "`image_px` is 8" in first
    assert "`dropuot` is not a known key" in second


def test_a_bug_is_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def buggy(study: str | None) -> Study:
        raise ZeroDivisionError

    monkeypatch.setattr("workbench.cli.study.opened_study", buggy)
    assert isinstance(run("compare").exception, ZeroDivisionError)


def test_every_error_of_this_package_is_an_expected_one() -> None:
    with pytest.raises(typer.Exit) as ended, shared.reporting_errors():
        raise WorkbenchError("What is wrong.")
    assert ended.value.exit_code == 1


def test_a_legal_backbone_exits_0_and_says_why() -> None:
    result = run("backbones", "--check", "resnet18")
    assert result.exit_code == 0
    assert result.stdout.startswith("resnet18 is allowed: it has 11.")
    assert "saw ImageNet-1K" in result.stdout
    assert len(result.stdout.splitlines()) == 1


@pytest.mark.parametrize(
    ("backbone", "why"),
    [
        ("convnext_tiny.fb_in22k", "where the rulebook allows only ImageNet-1K"),
        ("convnext_xxlarge", "over the limit of 200M"),
        # thop sees almost nothing of this one.
        ("resnetv2_152x2_bit", ", the larger decides), over the limit"),
    ],
)
def test_an_illegal_backbone_exits_1_with_one_sentence(backbone: str, why: str) -> None:
    result = run("backbones", "--check", backbone)
    assert result.exit_code == 1
    assert result.stdout.startswith(f"{backbone} is refused: ")
    assert why in result.stdout
    assert len(result.stdout.splitlines()) == 1
    assert result.stderr == ""


def test_a_verdict_is_json_on_demand() -> None:
    result = run("backbones", "--check", "convnext_tiny.fb_in22k", "--json")
    verdict = json.loads(result.stdout)
    assert result.exit_code == 1
    assert verdict["legal"] is False
    assert verdict["pretraining"] == "in21k"
    assert verdict["params_true"] > 27_000_000


def test_an_experiments_own_rulebook_judges(here: Path) -> None:
    rules = {"max_params": "5M", "pretraining": ["in1k"]}
    file = str(write_experiment(here, rulebook=rules))
    refused = run("backbones", "--check", "resnet18", "--experiment", file)
    assert refused.exit_code == 1
    assert "over the limit of 5M" in refused.stdout


def test_the_models_that_timm_published_are_ranked_under_the_rulebook() -> None:
    result = run("backbones", "--top", "3", "--sort", "imagenet", "--limit", "30M")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert [line.split()[0] for line in lines[2:5]] == [
        "volo_d1_384.sail_in1k",
        "xcit_small_12_p8_384.fb_dist_in1k",
        "caformer_s18.sail_in1k_384",
    ]
    assert "over 30M parameters" in result.stdout
    assert lines[-1] == "Next: workbench backbones --check volo_d1_384.sail_in1k"


def test_excluded_models_are_listed_one_by_one_where_asked() -> None:
    result = run("backbones", "--excluded", "--top", "1")
    lines = [line.split() for line in result.stdout.splitlines()]
    assert sum(line[2:3] == ["params"] for line in lines) == 105
    assert ["beit_base_patch16_224.in22k_ft_in22k_in1k", "224", "pretraining"] in [
        line[:3] for line in lines
    ]


def test_a_ranking_is_json_on_demand() -> None:
    result = run("backbones", "--json", "--memory", "16GiB", "--batch", "8", "--families", "1")
    found = json.loads(result.stdout)
    assert len(found["rows"]) == found["query"]["top"] == 20
    assert len({row["family"] for row in found["rows"]}) == 20
    assert max(row["memory_bytes"] for row in found["rows"]) <= 16 * 2**30
    assert sum(found["num_excluded"].values()) == len(found["excluded"])
    assert len(found["excluded"]) + found["num_ranked"] == 1556


def test_an_experiments_own_rulebook_ranks_and_an_option_replaces_its_word(here: Path) -> None:
    file = str(write_experiment(here, rulebook={"max_params": "5M", "counter": "true"}))
    limits = json.loads(run("backbones", "--json", "--experiment", file).stdout)["limits"]
    assert (limits["max_params"], limits["pretraining"]) == (5_000_000, ["in1k"])
    other = ("--pretrained", "in1k", "--pretrained", "in21k", "--limit", "7M")
    limits = json.loads(run("backbones", "--json", "--experiment", file, *other).stdout)["limits"]
    assert (limits["max_params"], limits["pretraining"]) == (7_000_000, ["in1k", "in21k"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--sort", "imagenet_r"], "`sort` is 'imagenet_r'"),
        (["--limit", "12Q"], "write a number of parameters such as 200M"),
        (["--memory", "16"], "write a memory size such as 16GiB"),
        (["--pretrained", "imagenet"], "'imagenet' is not known: write none, in1k"),
        (["--experiment", "x.yaml"], "x.yaml does not exist"),
    ],
)
def test_what_cannot_be_ranked_by_is_answered_by_what_can(words: list[str], said: str) -> None:
    assert_refused(run("backbones", *words), said)


def test_a_rulebook_that_is_none_is_refused(here: Path) -> None:
    file = str(write_experiment(here, rulebook="200M"))
    assert_refused(run("backbones", "--experiment", file), "`rulebook`")


def test_the_ranking_answers_without_torch_even_by_an_experiment(here: Path) -> None:
    words = ["backbones", "--top", "1", "--experiment", str(write_experiment(here))]
    code = (
        "import contextlib, sys, workbench.cli.main\n"
        f"with contextlib.suppress(SystemExit):\n    workbench.cli.main.app({words!r})\n"
        "print([name for name in ('torch', 'timm') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "1 of 942 models" in done.stdout


def test_the_demo_is_made_where_it_is_asked_for(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Path, int]] = []
    monkeypatch.setattr(
        "workbench.demo.build.make_demo", lambda folder, *, seed: asked.append((folder, seed))
    )
    result = run("demo-data", "made", "--seed", "3")
    assert result.exit_code == 0
    assert asked == [(Path("made"), 3)]
    assert "workbench search experiments/demo.yaml --data made" in result.stdout


@pytest.mark.parametrize(
    ("limit_bytes", "code", "said"),
    [(2 * 2**30, 1, "error: The address space is limited to 2.0 GiB"), (6 * 2**30, 0, "warning: ")],
)
def test_a_limit_of_the_address_space_is_told_at_the_start(
    monkeypatch: pytest.MonkeyPatch, limit_bytes: int, code: int, said: str
) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda _: (limit_bytes, limit_bytes))
    result = run("weights", "list")
    assert result.exit_code == code
    assert result.stderr.startswith(said)
    assert "ulimit -v unlimited" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_real_limit_is_told_before_anything_is_imported() -> None:
    limited = "ulimit -v 1000000 && exec " + shlex.join(
        [sys.executable, "-m", "workbench", "check"]
    )
    done = subprocess.run(["sh", "-c", limited], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: The address space is limited to 1.0 GiB")


def test_without_a_limit_nothing_is_said() -> None:
    assert "address space" not in run("weights", "list").stderr


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (PermissionError(errno.EACCES, "", "a/b"), "a/b: permission denied. Give the user"),
        (PermissionError(errno.EPERM, "", b"a/b"), "a/b: permission denied. Give the user"),
        (OSError(errno.EROFS, "", "a/b"), "a/b: it is on a read-only file system."),
        (NotADirectoryError(errno.ENOTDIR, "", "a/b"), "a/b cannot be reached: on the way"),
        (OSError(errno.ENOSPC, "", "a/b"), "There is no space left for a/b. Make some"),
        (OSError(errno.EDQUOT, ""), "There is no space left. Make some"),
        (OSError(errno.EMFILE, ""), "as many files open as it may. Raise `ulimit -n`."),
        (OSError(errno.EIO, "", "a/b"), "a/b: input/output error. See whether its disk"),
    ],
)
def test_what_the_machine_refuses_is_told(
    monkeypatch: pytest.MonkeyPatch, error: OSError, said: str
) -> None:
    def refuse(*_: object) -> None:
        raise error

    monkeypatch.setattr("workbench.selection.grade.grade", refuse)
    assert_refused(run("score", "a", "b"), said)


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(errno.ENOENT, "", "a/b"),
        PermissionError(errno.EPERM, ""),  # of what?
        OSError(errno.EBADF, "", "a/b"),
        PermissionError("said without a number"),
        IsADirectoryError(errno.EISDIR, "", "a/b"),
    ],
)
def test_what_may_be_a_bug_stays_a_traceback(
    monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("workbench.selection.grade.grade", fail)
    assert run("score", "a", "b").exception is error
