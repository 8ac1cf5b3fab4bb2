"""The script that makes the table of figures, on a made `results` folder."""

import csv
import io
import subprocess
from pathlib import Path

import pytest

from workbench.errors import ConfigError
from workbench.parts import leaderboard_making
from workbench.parts.leaderboard import COLUMNS, LEADERBOARD_TABLE, read_table
from workbench.parts.leaderboard_making import BENCHMARKS, TOP1, main, make, reader, revision

RESULTS = "model,img_size,top1,top1_err,param_count"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two models, one of them at two sizes; each file of results has its own accuracies."""
    results = tmp_path / "results"
    results.mkdir()
    for number, file in enumerate(dict.fromkeys(TOP1.values())):
        rows = [
            f"b_net.y_in1k,224,{80 + number}.500,0,12.50",
            f"b_net.y_in1k,288,{81 + number}.25,0,12.50",
            f'a_net.x_in1k,224,{70 + number}.000,0,"1,014.45"',
        ]
        (results / file).write_text("\n".join([RESULTS, *rows]) + "\n", encoding="utf-8")
    for file in {file for file, _, _ in BENCHMARKS.values()}:
        kind = "train" if "train" in file else "infer"
        header = f"model,{kind}_img_size,{kind}_samples_per_sec,infer_gmacs,infer_macts"
        rows = ['b_net,224,"1,234.56",1.5,20.25', "b_net,256,900,2,30"]
        (results / file).write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return results


def made(folder: Path) -> tuple[list[dict[str, str]], list[str]]:
    text, said = make(reader(str(folder)), commit="0123abcd", date="2026-08-08")
    first, rest = text.split("\n", 1)
    assert first == (
        "# results of huggingface/pytorch-image-models, Apache-2.0, commit 0123abcd of 2026-08-08"
    )
    return list(csv.DictReader(io.StringIO(rest))), said


def test_each_row_has_the_figures_of_its_model_and_size(folder: Path) -> None:
    rows, said = made(folder)
    assert [(r["model"], r["image_px"]) for r in rows] == [
        ("a_net.x_in1k", "224"),
        ("b_net.y_in1k", "224"),
        ("b_net.y_in1k", "288"),
    ]
    assert tuple(rows[0]) == COLUMNS
    assert rows[0]["params_m"] == "1014.45"
    # The files in the order of TOP1: ImageNet, V2, ReaL, Sketch, -A, -A clean, -R, -R clean.
    accuracies = [rows[1][name] for name in COLUMNS[5:13]]
    assert accuracies == [f"{80 + number}.5" for number in range(8)]
    assert rows[2]["imagenet"] == "81.25"
    # Speeds are by architecture and image size, and nobody measured 288 px or the other model.
    assert (rows[1]["gmacs"], rows[1]["macts"], rows[1]["train_per_s"]) == (
        "1.5",
        "20.25",
        "1234.56",
    )
    assert rows[2]["gmacs"] == rows[0]["infer_per_s"] == ""
    assert "There is no gmacs of b_net.y_in1k at 288 px, a_net.x_in1k at 224 px." in said


def test_a_row_that_one_file_lacks_is_kept_and_told(folder: Path) -> None:
    file = folder / TOP1["imagenet_a"]
    file.write_text(file.read_text().replace("a_net.x_in1k", "c_net.z_in1k"), encoding="utf-8")
    rows, said = made(folder)
    assert len(rows) == 3
    assert rows[0]["imagenet_a"] == ""
    assert "There is no imagenet_a of a_net.x_in1k at 224 px." in said


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("80.500", "high", "top1 of b_net.y_in1k is 'high'"),
        ("80.500", "nan", "top1 of b_net.y_in1k is 'nan'"),
        ("top1,", "top,", "no column 'top1'"),
        ("b_net.y_in1k,288", "b_net.y_in1k,224", "has b_net.y_in1k at 224 px twice"),
        (",288,", ",28.8,", "no image size"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_by_name(
    folder: Path, old: str, new: str, error: str
) -> None:
    file = folder / TOP1["imagenet"]
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(ConfigError, match=error) as refused:
        made(folder)
    assert "results-imagenet.csv" in str(refused.value)


def test_the_script_writes_a_table_that_the_program_reads(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "table.csv"
    words = [str(folder), "--commit", "0123abcd", "--date", "2026-08-08", "--out", str(out)]
    assert main(words) == 0
    assert capsys.readouterr().out.endswith(f"{out} has 3 rows.\n")
    table = read_table(out)
    assert table.source.endswith("commit 0123abcd of 2026-08-08")
    assert table.rows[1].imagenet == 80.5
    assert table.rows[1].gap_a == 1.0  # clean is the file after -A: 85.5 - 84.5
    assert table.rows[0].train_per_s is None


def test_a_url_is_read_file_by_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def download(url: str) -> str:
        asked.append(url)
        return (folder / url.rpartition("/")[2]).read_text()

    monkeypatch.setattr(leaderboard_making, "_download", download)
    from_url = make(reader("https://host.example/results/"), commit="c", date="d")
    assert from_url == make(reader(str(folder)), commit="c", date="d")
    assert f"https://host.example/results/{TOP1['sketch']}" in asked


def test_a_url_that_cannot_be_reached_is_an_expected_error() -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        reader("http://127.0.0.1:9/results")("results-imagenet.csv")


def test_a_folder_without_the_files_is_an_expected_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path), "--commit", "c", "--date", "d"]) == 1
    assert "results-imagenet.csv does not exist" in capsys.readouterr().err


def test_a_git_checkout_knows_its_commit_and_other_folders_must_be_told(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert revision(folder) == ("", "")
    with pytest.raises(SystemExit):
        main([str(folder)])
    assert "by --commit and --date" in capsys.readouterr().err
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b.c"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "x"]):
        subprocess.run([*git, *words], check=True)
    commit, date = revision(folder)
    assert len(commit) >= 7
    out = tmp_path / "table.csv"
    assert main([str(folder), "--out", str(out)]) == 0
    assert read_table(out).source.endswith(f"commit {commit} of {date}")


def test_the_shipped_table_is_as_the_script_writes_it() -> None:
    lines = LEADERBOARD_TABLE.read_text(encoding="utf-8").splitlines()
    assert lines[1] == ",".join(COLUMNS)
    models = [(line.split(",")[0], int(line.split(",")[1])) for line in lines[2:]]
    assert models == sorted(models)
