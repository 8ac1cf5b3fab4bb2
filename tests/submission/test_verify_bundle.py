"""Bundles verified: what was changed, and what runs otherwise than it did, each on a line."""

import json
import math
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.commands import run_here
from tests.submission.made_study import TrainedStudy
from tests.submission.page import PAGE, blocks, words_of
from tests.submission.stub_wheels import write_stub_wheels
from workbench.errors import BundleError, DataError
from workbench.files import hash_file
from workbench.submission.bundle import Bundle
from workbench.submission.contents import Contents, read_manifest_of_bundle
from workbench.submission.predictions import PredictionSheet
from workbench.submission.verify_bundle import media_folder, verify_bundle
from workbench.submission.verify_environment import (
    CleanEnvironment,
    link_packages,
    make_environment,
    read_requirements,
)
from workbench.submission.verify_report import VerifyReport, report_folder
from workbench.submission.verify_run import ProgramRun, memory_of_tree, run_program
from workbench.submission.verify_scores import compare_rows, compare_scores, tolerance_of

AFTER = ("environment", "packages", "run", "rows", "scores", "network", "files after")


def results(report: VerifyReport) -> dict[str, str]:
    return {line.name: line.result for line in report.lines}


def said(report: VerifyReport, name: str) -> str:
    return next(line.said for line in report.lines if line.name == name)


def enter(bundle: Path, *names: str, **changes: object) -> None:
    """Change the manifest, and let it hold what the files `names` are now."""
    manifest = json.loads((bundle / "manifest.json").read_text())
    for name in names:
        path = bundle / name
        record = {"sha256": hash_file(path), "size_bytes": path.stat().st_size}
        manifest["files"][name] = record
    (bundle / "manifest.json").write_text(json.dumps(manifest | changes))


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("weight", "was changed: model.safetensors is not the exported file."),
        ("code", "was changed: code/workbench/submission/api.py is not the exported file."),
        ("missing", "is incomplete: model.json is missing."),
        ("added", "was changed: code/torch.py does not belong to it."),
    ],
)
def test_a_bundle_that_was_changed_fails_with_one_sentence_and_is_not_run(
    own_bundle: Path, study: TrainedStudy, fault: str, sentence: str
) -> None:
    match fault:
        case "weight":
            flip(own_bundle / "model.safetensors")
        case "code":
            api = own_bundle / "code" / "workbench" / "submission" / "api.py"
            api.write_text(api.read_text().replace("BATCH_SIZE = 8", "BATCH_SIZE = 9"))
        case "missing":
            (own_bundle / "model.json").unlink()
        case "added":
            (own_bundle / "code" / "torch.py").touch()
    report = verify_bundle(own_bundle, study.data, is_linked=True)
    assert not report.has_passed
    assert sentence in said(report, "files")
    assert "more such faults" not in said(report, "files")
    assert results(report) == {
        **{"files": "fail", "documents": "not run"},
        **{"requirements": "pass", "test files": "pass"},
        **dict.fromkeys(AFTER, "not run"),
    }
    assert report.verdict == f"{own_bundle} does not pass: files."


def test_several_faults_are_counted(own_bundle: Path, study: TrainedStudy) -> None:
    (own_bundle / "model.json").unlink()
    (own_bundle / "recipe.json").unlink()
    (own_bundle / "notes.txt").touch()
    report = verify_bundle(own_bundle, study.data)
    assert "model.json is missing" in said(report, "files")
    assert "There are 2 more such faults." in said(report, "files")


def test_other_requirements_than_the_manifests_are_told(
    own_bundle: Path, study: TrainedStudy
) -> None:
    path = own_bundle / "requirements.txt"
    version = read_requirements(own_bundle)["timm"]
    path.write_text(path.read_text().replace(f"timm=={version}", "timm==0.1"))
    enter(own_bundle, "requirements.txt")
    report = verify_bundle(own_bundle, study.data)
    assert said(report, "requirements") == (
        f"requirements.txt asks for timm 0.1, and manifest.json tells {version}. "
        "Export the bundle again."
    )
    assert results(report)["run"] == "not run"


@pytest.mark.parametrize(
    "line", ["torch", "torch>=2", "-e .", "--index-url http://x", "torch==2.1 ; python_version>'3'"]
)
def test_requirements_that_are_no_plain_pins_are_refused(tmp_path: Path, line: str) -> None:
    (tmp_path / "requirements.txt").write_text(f"numpy==2.4.6\n{line}\n")
    with pytest.raises(BundleError, match="line 2 is no NAME==VERSION"):
        read_requirements(tmp_path)


def test_other_test_media_are_told_before_anything_runs(
    own_bundle: Path, study: TrainedStudy, tmp_path: Path
) -> None:
    flip(own_bundle / "model.safetensors")  # so that it is not run
    media = tmp_path / "testset"
    media.mkdir()
    for file in (study.data / "testset").iterdir():
        (media / file.name).write_bytes(file.read_bytes())
    for data in (tmp_path, media):
        assert results(verify_bundle(own_bundle, data))["test files"] == "pass"
    flip(media / "t0.mp4")
    (media / "missing.mp4").write_bytes((media / "t1.mp4").read_bytes())
    report = verify_bundle(own_bundle, tmp_path)
    assert "2 of the 7 test files are not those that were scored, e.g. 't0.mp4'." in said(
        report, "test files"
    )
    (tmp_path / "elsewhere").mkdir()
    report = verify_bundle(own_bundle, tmp_path / "elsewhere")
    assert "None of the 7 test files lies in" in said(report, "test files")
    with pytest.raises(DataError, match="does not exist"):
        verify_bundle(own_bundle, tmp_path / "nowhere")


def test_a_folder_of_the_recorded_name_holds_the_media(bundle: Bundle, tmp_path: Path) -> None:
    contents = bundle.contents
    assert (contents.test_media, contents.device) == ("testset", "cpu")
    assert media_folder(tmp_path, contents) == tmp_path
    for name in ("testset", "val"):
        (tmp_path / name).mkdir()
    assert media_folder(tmp_path, contents) == tmp_path / "testset"
    older = contents.model_copy(update={"test_media": ""})
    (tmp_path / "testset").rmdir()
    assert media_folder(tmp_path, contents) == tmp_path
    assert media_folder(tmp_path, older) == tmp_path / "val"


@pytest.mark.parametrize(
    ("stored_on", "device", "tolerance"),
    [
        ("", "cpu", 1e-5),
        ("cpu", "cpu", 1e-5),
        ("cpu", "cuda:1", 1e-3),
        ("NVIDIA L4", "cpu", 1e-3),
        ("NVIDIA L4", "cuda", 1e-3),
    ],
)
def test_the_tolerance_is_small_on_a_cpu_alone(
    stored_on: str, device: str, tolerance: float
) -> None:
    assert tolerance_of(stored_on, device) == tolerance


def sheet(*scores: str, after: str = "\n", head: str = "name,score\n") -> PredictionSheet:
    names = tuple(f"{number}.mp4" for number in range(len(scores)))
    return PredictionSheet(
        head, tuple((f"{n},", after) for n in names), names, scores, b"", "utf-8"
    )


def test_scores_within_the_tolerance_are_the_same() -> None:
    stored = sheet("0.25", "0.5")
    assert compare_scores(stored, stored, 1e-5) == "2 scores, equal to the last digit"
    assert compare_scores(stored, sheet("0.25", "0.500002"), 1e-5) == (
        "2 scores differ by 2e-6 at most; 1e-5 is allowed"
    )
    with pytest.raises(BundleError) as far:
        compare_scores(stored, sheet("0.2502", "0.4"), 1e-4)
    assert str(far.value) == (
        "2 of 2 scores differ by over 1e-4, the most that of '1.mp4': 0.400000 in place of "
        "0.500000."
    )
    with pytest.raises(BundleError, match=r"\. Of 1 of them nothing could be decoded when they"):
        compare_scores(stored, sheet("0.2502", "0.4"), 1e-4, ["1.mp4"])


@pytest.mark.parametrize("cell", ["nan", "1.5", "", "-0.1", "high"])
def test_a_score_that_is_no_probability_is_told(cell: str) -> None:
    with pytest.raises(BundleError, match=r"The score of '1\.mp4' is '.*', no probability"):
        compare_scores(sheet("0.25", "0.5"), sheet("0.25", cell), math.inf)


def test_all_but_the_scores_must_be_equal() -> None:
    stored = sheet("0.25", "0.5")
    assert compare_rows(stored, sheet("0", "1")) == "2 rows, equal byte by byte but for the scores"
    for other, why in (
        (sheet("0.25"), "1 rows were written in place of 2"),
        (sheet("0.25", "0.5", head="name,score\r\n"), "its line end"),
        (sheet("0.25", "0.5", after="\r\n"), r"Row 1, '0\.mp4', differs"),
    ):
        with pytest.raises(BundleError, match=why):
            compare_rows(stored, other)


def test_linked_packages_bring_what_they_need_and_nothing_else(tmp_path: Path) -> None:
    assert link_packages(["pydantic"], tmp_path) >= 4
    there = {path.name for path in tmp_path.iterdir()}
    assert {"pydantic", "pydantic_core", "annotated_types", "typing_extensions.py"} <= there
    assert not there & {"workbench", "torch", "numpy", "email_validator", "__pycache__"}
    assert not any(name.endswith(".pth") for name in there)
    with pytest.raises(BundleError, match="no-such-package, which the bundle requires, is not ins"):
        link_packages(["no-such-package"], tmp_path)


def test_a_report_lies_beside_the_bundle_or_where_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    monkeypatch.chdir(bundle)
    assert report_folder(Path(), None) == tmp_path / "bundle-verify"
    assert report_folder(Path(), tmp_path / "here") == tmp_path / "here"
    with pytest.raises(DataError, match="is inside the bundle"):
        report_folder(bundle, bundle / "report")
    # What is not its own is not written over; an earlier report of it is.
    mine = tmp_path / "mine"
    mine.mkdir()
    for name, text in (("verify.md", "notes"), ("verify.json", "[]")):
        (mine / name).write_text(text)
        with pytest.raises(DataError, match="is no report of an earlier verification"):
            report_folder(bundle, mine)
    (mine / "verify.json").write_text('{"passed": true, "manifest_sha256": ""}')
    assert report_folder(bundle, mine) == mine


def test_a_program_is_run_to_its_end_and_measured(tmp_path: Path) -> None:
    # It and a child of it hold 60 MB each until they were looked at.
    child = "import time; held = b'x' * 60_000_000; time.sleep(1.5)"
    program = (
        f"import subprocess, sys; child = subprocess.Popen([sys.executable, '-c', {child!r}])\n"
        "held = b'x' * 60_000_000; child.wait(); sys.exit(3)"
    )
    done = run_program([sys.executable, "-c", program], cwd=tmp_path, variables={})
    assert done.exit_code == 3
    assert done.seconds > 1.5
    if memory_of_tree(1) is None and not Path("/proc/self/smaps_rollup").exists():
        return  # a system that does not tell
    assert done.peak_memory_bytes is not None
    assert 120_000_000 < done.peak_memory_bytes < 400_000_000


def test_a_program_that_gives_its_template_back_does_not_pass(
    bundle: Bundle, study: TrainedStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = read_manifest_of_bundle(bundle.path)
    python = Path(sys.executable)
    there = CleanEnvironment(python, "made up", contents.python, contents.versions, "")

    def echo(command: Sequence[str | Path], **_: object) -> ProgramRun:
        template, out = (command[command.index(name) + 1] for name in ("--template", "--out"))
        shutil.copyfile(template, out)
        return ProgramRun(0, 0.1, None)

    monkeypatch.setattr(
        "workbench.submission.verify_bundle.make_environment", lambda *_, **__: there
    )
    monkeypatch.setattr("workbench.submission.verify_bundle.run_program", echo)
    report = verify_bundle(bundle.path, study.data)
    found = results(report)
    assert (found["run"], found["rows"], found["scores"]) == ("pass", "pass", "fail")


@pytest.mark.slow
def test_what_a_bundle_does_otherwise_fails_its_own_line(
    own_bundle: Path, study: TrainedStudy, capfd: pytest.CaptureFixture[str]
) -> None:
    predictions = own_bundle / "predictions.csv"
    text = predictions.read_text().splitlines()
    text[1] = text[1].rpartition(",")[0] + ",0.125"
    predictions.write_text("\n".join(text) + "\n")
    program = own_bundle / "predict.py"
    asking = (
        "import contextlib, socket\nwith contextlib.suppress(OSError):\n"
        "    socket.create_connection(('192.0.2.1', 80), timeout=5)\n"
    )
    program.write_text(program.read_text().replace("BUNDLE =", f"{asking}BUNDLE =", 1))
    versions = read_manifest_of_bundle(own_bundle).versions
    other = {**versions, "timm": "0.1"}
    pins = "".join(f"{name}=={number}\n" for name, number in other.items())
    (own_bundle / "requirements.txt").write_text(pins)
    changed = "predictions.csv", "predict.py", "requirements.txt"
    enter(own_bundle, *changed, versions=other, python="3.1.4")
    report = verify_bundle(own_bundle, study.data, is_linked=True)
    found = results(report)
    assert {name for name in found if found[name] != "pass"} == {"packages", "scores", "network"}
    there = ".".join(map(str, sys.version_info[:3]))
    assert said(report, "packages") == (
        f"The environment has timm {versions['timm']} in place of 0.1, "
        f"Python {there} in place of 3.1.4."
    )
    assert said(report, "scores").startswith("1 of 8 scores differ by over 1e-5, the most that of")
    assert said(report, "network") == (
        "It asked for the network, which was closed: 1 in all, first '192.0.2.1'."
    )
    assert report.seconds is not None
    assert report.neutral.startswith("3 of the 7 test files have a neutral score")
    assert "3 of 7 files could not be read" in capfd.readouterr().err


@pytest.mark.slow
def test_an_environment_is_made_of_a_folder_of_wheels_alone(
    own_bundle: Path, study: TrainedStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Whatever is set here, pip looks nowhere else.
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_CONSTRAINT"):
        monkeypatch.delenv(name, raising=False)
    wheels = write_stub_wheels(read_requirements(own_bundle), tmp_path / "wheels")
    command = words_of("verify", bundle=str(own_bundle), DIR=str(study.data))
    printed = run_here(tmp_path, *command)
    assert "new, installed by pip from the wheels in wheels" in printed
    assert "\nfail" not in printed
    text = own_bundle.with_name("own-verify").joinpath("verify.md").read_text()
    assert "passes: all 11 checks." in text
    assert text.count("| pass | ") == printed.count("\npass") + 1 == 11
    next(wheels.glob("timm-*.whl")).unlink()
    with pytest.raises(
        BundleError, match=r"pip cannot install .* found for timm==.*Put the wheels"
    ):
        make_environment(tmp_path / "a", own_bundle, wheels=wheels)
    with pytest.raises(BundleError, match=r"index cannot be reached.*--wheels.*--installed"):
        make_environment(tmp_path / "b", own_bundle)


def test_every_code_block_of_the_page_is_run_or_is_output() -> None:
    fences = re.findall(r"^```(\w*)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert fences == [*("sh", "", "python", "", "sh", "", "text", "")]
    # The first by the main job, this one above.
    assert words_of("export", STUDY="tiny")[:2] == ["export", "tiny"]
    assert words_of("verify", DIR="data")[:4] == ["verify", "bundle", "--data", "data"]


@pytest.mark.slow
def test_the_python_of_the_page_runs_in_a_bundle(own_bundle: Path, study: TrainedStudy) -> None:
    (program,) = blocks("python")
    clip = str(study.data / "testset" / "t0.mp4")
    program = "import sys; sys.path.insert(0, '')\n" + program.replace('"clip.mp4"', repr(clip))
    done = subprocess.run(
        [sys.executable, "-I", "-B", "-c", program],
        cwd=own_bundle,
        capture_output=True,
        text=True,
        check=True,
    )
    text = (own_bundle / "predictions.csv").read_text()
    (stored,) = {line.rpartition(",")[2] for line in text.splitlines() if line.startswith("t0.mp4")}
    assert float(done.stdout) == pytest.approx(float(stored), abs=1e-5)


def test_older_bundles_tell_neither_device_nor_folder() -> None:
    tree = {"study": "s", "trial": 1, "recipe": "r", "name_column": "n", "score_column": "s"}
    older = {**tree, "created": "2025", "python": "3.11.0", "versions": {}, "files": {}}
    contents = Contents.model_validate(older)
    assert (contents.device, contents.test_media) == ("", "")
