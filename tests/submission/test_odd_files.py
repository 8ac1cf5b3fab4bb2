"""A bundle on files that hang, die, take too much or are not there: each costs itself alone."""

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.data.test_malformed_media import children
from tests.media.odd_files import late_flv, late_mpg, read_oddly, vast_tracks, wide_wav
from tests.submission.made_study import TrainedStudy
from workbench.media.view import MadeOrNot, View
from workbench.submission import api
from workbench.submission.api import Predictor, main
from workbench.submission.bundle import Bundle


def fail(path: Path, views: Mapping[str, View], *_: Any) -> MadeOrNot:
    raise IndexError("a bug of a view")


def clips_of(study: TrainedStudy) -> list[Path]:
    return sorted((study.data / "testset").iterdir())


def test_the_fence_changes_no_bit_of_a_score(study: TrainedStudy, bundle: Bundle) -> None:
    paths = clips_of(study) * 2 + [study.data / "testset" / "missing.mp4"]
    with Predictor(bundle.path, num_decoders=2) as fenced:
        apart = fenced.predict_many(paths)
    assert apart == Predictor(bundle.path, num_decoders=0).predict_many(paths)


@pytest.mark.slow
def test_a_file_that_hangs_dies_or_eats_memory_gets_a_neutral_score_and_the_rest_goes_on(
    study: TrainedStudy,
    bundle: Bundle,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    good, absent = study.data / "testset" / "t0.mp4", Path("absent")
    monkeypatch.setattr(api, "read_any", read_oddly)
    paths = [good, Path("hangs"), Path("dies"), good, Path("eats"), good]
    with Predictor(bundle.path, num_decoders=2, limit_s=4) as predictor:
        found = list(predictor.predictions(paths))
    said = capfd.readouterr().err
    # The same batch of pictures, so the same bits.
    same = [path if path == good else absent for path in paths]
    assert [one.score for one in found] == Predictor(bundle.path).predict_many(same)
    assert [one.is_neutral for one in found] == [path != good for path in paths]
    for line in (
        "hangs: decoding took over 4 s; a neutral picture stands for its mel.",
        "dies: the decoder died on this file (exit code 3); a neutral picture stands for its mel.",
        "eats: decoding takes over 4 GiB of memory; a neutral picture stands for its frames.",
    ):
        assert line in said


def test_odd_files_are_scored_counted_and_named(
    study: TrainedStudy, bundle: Bundle, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    hostile = "x\x1b[2J.mp4"
    odd = {hostile: b"x", "late.mpg": late_mpg(), "late.flv": late_flv(), "wide.wav": wide_wav()}
    for name, content in odd.items():
        (tmp_path / name).write_bytes(content)
    good, mute = (study.data / "testset" / name for name in ("t0.mp4", "mute.mp4"))
    files = [good, *(tmp_path / name for name in odd), mute]
    out = tmp_path / "out.csv"
    assert main(bundle.path, [*map(str, files), "--out", str(out)]) == 0
    assert pd.read_csv(out)["video_name"].tolist() == [path.name for path in files]
    assert pd.read_csv(out)["y_pred"].between(0, 1).all()
    said = capfd.readouterr().err
    assert " of 6 files could not be read and got a neutral score: " in said
    assert rf"{tmp_path}/x\u001b[2J.mp4 (broken: " in said
    assert all(line.isprintable() for line in said.splitlines())
    assert "lack a view and were scored by the others: " in said
    assert f"{mute} (mel, no_audio: " in said


def test_one_exception_on_many_files_is_a_bug_and_no_score(
    study: TrainedStudy,
    bundle: Bundle,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("workbench.media.decoders.read_views", fail)
    clips = []
    for number in range(20):
        clips.append(str(tmp_path / f"{number}.mp4"))
        Path(clips[-1]).touch()
    out = tmp_path / "out.csv"
    assert main(bundle.path, [*clips, "--jobs", "0", "--out", str(out)]) == 1
    assert "20 of 20 files failed with the same unexpected IndexError" in capsys.readouterr().err
    assert not out.exists()


def test_nothing_is_written_over_what_is_read(
    study: TrainedStudy, bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clips = [tmp_path / name for name in ("a.mp4", "b.mp4")]
    for clip in clips:
        clip.write_bytes((study.data / "testset" / "t0.mp4").read_bytes())
    before = clips[0].read_bytes()
    # As the shell spells `--out *.mp4`.
    assert main(bundle.path, ["--out", *map(str, clips)]) == 1
    assert main(bundle.path, ["--out", str(clips[0]), *map(str, clips)]) == 1
    template = study.data / "prediction.txt.csv"
    text = template.read_bytes()
    media = study.data / "testset"
    for out in (template, media / "t0.mp4", media / "missing.mp4"):
        arguments = ["--template", template, "--media", media, "--out", out]
        assert main(bundle.path, [*map(str, arguments)]) == 1
    assert capsys.readouterr().err.count("error: --out ") == 5
    assert clips[0].read_bytes() == before
    assert template.read_bytes() == text
    assert not (media / "missing.mp4").exists()


def test_what_is_no_file_gets_no_score(
    study: TrainedStudy, bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, out = study.data / "testset" / "t0.mp4", tmp_path / "out.csv"
    for name, said in (("typo.mp4",) * 2, ("testset",) * 2, ("t\x1b[2J.mp4", r"t\u001b[2J.mp4")):
        named = study.data / name
        assert main(bundle.path, [str(good), str(named), "--out", str(out)]) == 1
        assert f"error: {study.data / said} " in capsys.readouterr().err
    assert not out.exists()


def held() -> tuple[int, int, int]:
    """Open files, threads and children of this process."""
    num_children = len(children())  # first, since it has a helper of multiprocessing started
    handles, tasks = (len(list(Path(f"/proc/self/{what}").iterdir())) for what in ("fd", "task"))
    return handles, tasks, num_children


def resident_bytes() -> int:
    """Memory of this process and of those that it started."""
    pages = 0
    for process in (os.getpid(), *children()):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            pages += int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@dataclass
class Asked:
    """What came of asking from eight threads."""

    wrong: list[Path]
    """Files whose score was not that of one thread alone."""

    before: tuple[int, int, int]
    """What was held once all threads had asked some times."""

    after: tuple[int, int, int]
    growth_bytes: int
    """Of memory, since then."""


def ask_from_eight_threads(bundle: Path, paths: list[Path], *, num_turns: int) -> Asked:
    with Predictor(bundle, num_decoders=2) as predictor:
        alone = [predictor.predict(path) for path in paths]
        wrong: list[Path] = []
        pause = threading.Barrier(9)

        def ask(number: int) -> None:
            for turn in range(num_turns):
                at = (number + turn) % len(paths)
                if predictor.predict(paths[at]) != alone[at]:
                    wrong.append(paths[at])
                if turn in (4, num_turns - 1):  # all threads are there, with what each needs
                    pause.wait()
                    pause.wait()

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        seen = []
        for _ in range(2):
            pause.wait()
            seen.append((held(), resident_bytes()))
            pause.wait()
        for thread in threads:
            thread.join()
    (before, least), (after, most) = seen
    return Asked(wrong, before, after, most - least)


def bad_requests(folder: Path) -> list[Path]:
    (folder / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(2_000))
    return [folder, folder / "absent", folder / "noise.mp4", Path("nul\0"), Path("x" * 300)]


def assert_nothing_is_left(asked: Asked) -> None:
    assert asked.wrong == []
    assert all(a <= b for a, b in zip(asked.after, asked.before, strict=True)), asked


def test_bad_requests_from_eight_threads_give_the_numbers_of_one_and_leave_nothing(
    study: TrainedStudy, bundle: Bundle, tmp_path: Path
) -> None:
    paths = [*bad_requests(tmp_path), *clips_of(study)]
    assert_nothing_is_left(ask_from_eight_threads(bundle.path, paths, num_turns=25))


@pytest.mark.slow
def test_a_thousand_bad_requests_take_no_memory(bundle: Bundle, tmp_path: Path) -> None:
    asked = ask_from_eight_threads(bundle.path, bad_requests(tmp_path), num_turns=130)
    assert_nothing_is_left(asked)
    assert asked.growth_bytes < 32 * 2**20  # 1,000 requests later; a picture of each took more


@pytest.mark.slow
def test_a_script_without_a_main_guard_may_predict(
    study: TrainedStudy, own_bundle: Path, tmp_path: Path
) -> None:
    clip = study.data / "testset" / "t0.mp4"
    script = tmp_path / "script.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(own_bundle)!r})\n"
        f"from predict import predict\nprint(predict({str(clip)!r}))\n"
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, check=False, env=environment
    )
    assert done.stderr == ""
    assert 0 < float(done.stdout) < 1
    assert not list(own_bundle.rglob("__pycache__"))


@pytest.mark.slow
def test_a_small_file_that_claims_vast_tracks_costs_itself_alone(
    study: TrainedStudy, bundle: Bundle, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    bomb = tmp_path / "bomb.mp4"
    bomb.write_bytes(vast_tracks(100, 1 << 24))  # over 40 GB, were they all looked at
    assert bomb.stat().st_size < 200_000
    good, out = study.data / "testset" / "t0.mp4", tmp_path / "out.csv"
    assert main(bundle.path, [str(good), str(bomb), str(good), "--out", str(out)]) == 0
    scores = pd.read_csv(out)["y_pred"]
    assert scores[0] == scores[2]
    said = capfd.readouterr().err
    assert f"1 of 3 files could not be read and got a neutral score: {bomb} (" in said
