from pathlib import Path

import pytest

from workbench.errors import DataError
from workbench.selection.grade import describe_grade, grade

LABELS = "video_name,target,kind\na.mp4,1,x\nb.mp4,1,y\nc.mp4,0,\nd.mp4,0,\n"


def write(folder: Path, predictions: str, labels: str = LABELS) -> tuple[Path, Path]:
    """Write both files and return their paths."""
    (folder / "predictions.csv").write_text(predictions)
    (folder / "labels.csv").write_text(labels)
    return folder / "predictions.csv", folder / "labels.csv"


def test_the_auc_is_that_of_the_names_in_any_order(tmp_path: Path) -> None:
    # Fakes .9 and .4, reals .5 and .1: three of the four pairs are in the right order.
    text = "video_name,y_pred\nd.mp4,0.1\nb.mp4,0.4\na.mp4,0.9\nc.mp4,0.5\n"
    graded = grade(*write(tmp_path, text))
    assert graded.metrics["auc"] == 0.75
    assert graded.num_files == 4
    # Four files tell next to nothing, and two reals nothing of one false alarm in a hundred.
    said = describe_grade(graded)
    assert said.startswith("AUC 0.7500 (0.207 to 0.970, 95%) on 4 files")
    assert said.endswith(
        "TPR 0.5000 without a false positive (under 100 real files can show no FPR of 0.01)"
    )


def test_a_file_that_is_named_in_two_ways_counts_once(tmp_path: Path) -> None:
    # The fake of 0.3 would lose to two reals of 0.4, were that one counted twice.
    text = "video_name,y_pred\na.mp4,0.9\nb.mp4,0.3\n./s//c.mp4,0.4\ns/c.mp4,0.4\nd.mp4,0.1\n"
    labels = "video_name,target\na.mp4,1\nb.mp4,1\ns/c.mp4,0\n./s//c.mp4,0\nd.mp4,0\n"
    graded = grade(*write(tmp_path, text, labels))
    assert (graded.num_files, graded.num_reals, graded.metrics["auc"]) == (4, 2, 0.75)


def test_other_predictions_than_the_labelled_ones_are_left_out_and_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "video_name,y_pred\nd.mp4,0.1\nb.mp4,0.4\na.mp4,0.9\nc.mp4,0.3\nz.mp4,0.99\n"
    graded = grade(*write(tmp_path, text))
    assert graded.metrics["auc"] == 1.0
    assert describe_grade(graded).startswith("AUC 1.0000 (0.386 to 1.000, 95%) on 4 files")
    assert "1 score without a label left out, e.g. " in capsys.readouterr().err


def test_an_fpr_of_one_in_a_hundred_is_told_where_a_hundred_reals_show_it(tmp_path: Path) -> None:
    names = [f"{number}.mp4" for number in range(101)]
    labels = "".join(f"{name},{int(name == '0.mp4')}\n" for name in names)
    text = "".join(f"{name},0.5\n" for name in names)
    files = write(tmp_path, f"video_name,y_pred\n{text}", f"video_name,target\n{labels}")
    assert describe_grade(grade(*files)).endswith("TPR 0.0000 at FPR 0.01")


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("a.mp4,0.1\nb.mp4,0.4\nc.mp4,0.9\n", "no score for d.mp4"),
        ("a.mp4,0.1\nb.mp4,\nc.mp4,0.9\nd.mp4,0.2\n", "score of b.mp4 is not a number"),
        ("a.mp4,0.1\nb.mp4,1.5\nc.mp4,0.9\nd.mp4,0.2\n", "score of b.mp4 is not a number"),
        ("a.mp4,0.1\n./a.mp4,0.2\nb.mp4,0.5\nc.mp4,0.9\nd.mp4,0.2\n", "gives a.mp4 two scores"),
        ("a.mp4,0.1\na.mp4,0.2\nb.mp4,0.5\nc.mp4,0.9\nd.mp4,0.2\n", "gives a.mp4 two scores"),
    ],
)
def test_predictions_that_cannot_be_graded_are_refused(
    tmp_path: Path, rows: str, said: str
) -> None:
    with pytest.raises(DataError, match=said):
        grade(*write(tmp_path, "video_name,y_pred\n" + rows))


@pytest.mark.parametrize(
    "labels", ["clip_of,target\na.mp4,1\n", "video_name,kind\na.mp4,1\n", "name,target\na.mp4,x\n"]
)
def test_the_advice_is_one_that_can_be_followed_without_an_experiment(
    tmp_path: Path, labels: str
) -> None:
    with pytest.raises(DataError, match=r"([Rr]ename the .*column|write it so), or name"):
        grade(*write(tmp_path, "video_name,y_pred\na.mp4,0.1\n", labels))


def test_one_class_cannot_be_graded(tmp_path: Path) -> None:
    labels = "video_name,target\na.mp4,1\nb.mp4,1\n"
    text = "video_name,y_pred\na.mp4,0.1\nb.mp4,0.4\n"
    with pytest.raises(DataError, match="one class only"):
        grade(*write(tmp_path, text, labels))


def test_names_and_labels_in_other_clothes_are_graded_and_it_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "video_name;y_pred\nd.MP4;0.1\n./b.mp4;0.4\na.mp4 ;0.9\nc.mp4;0.5\n"
    labels = LABELS.replace(",1,", ",fake,").replace(",0,", ",real,")
    assert grade(*write(tmp_path, text, labels)).metrics["auc"] == 0.75
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "labels.csv: fake/real read as 1/0"
    assert said[1] == "predictions.csv: semicolons"
    assert "2 names were matched" in said[2]
    assert "1 name was matched" in said[3]
    with pytest.raises(DataError, match=r"gives a\.mp4 both targets"):
        grade(*write(tmp_path, text.replace("a.mp4 ", "a.mp4"), LABELS + "./a.mp4,0,\n"))


def test_labels_that_the_names_turn_over_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [f"{kind}_{n}.png" for kind in ("real", "fake") for n in range(3)]
    predictions = "name,score\n" + "".join(f"{n},{float(n < 'g')}\n" for n in names)
    for real, is_told in ((1, True), (0, False)):
        labels = "name,target\n" + "".join(f"{n},{real if n > 'g' else 1 - real}\n" for n in names)
        grade(*write(tmp_path, predictions, labels))
        said = " ".join(capsys.readouterr().err.split())
        assert ("by their names it is the other way round" in said) == is_told
