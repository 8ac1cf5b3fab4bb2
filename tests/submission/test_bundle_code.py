"""What code a bundle carries, whatever views its model reads."""

import ast
import io
import tokenize
from pathlib import Path

import pytest

from workbench.media.mel import Mel
from workbench.media.view import View
from workbench.media.views import AnyView
from workbench.submission.bundle_code import Code, code_for
from workbench.values import kinds

VIEWS: dict[str, type[View]] = {
    kind: view for kind, view in kinds(AnyView).items() if issubclass(view, View)
}
NOT_FOR_PREDICTION = (
    "parts/augment", "parts/losses", "parts/optimizers", "parts/schedules", "parts/transfer",
    "parts/pretrained", "trial", "space", "study", "search", "screening", "selection", "tracking",
    "checks", "demo", "rules", "cli", "pages", "yaml_files",
)  # fmt: skip
MOST_LINES, MOST_CODE_LINES = 5_460, 3_219
"""Of a bundle's files, and of the code in them."""

FACE_LINES, FACE_CODE_LINES = 730, 450
"""What the views of faces, with their detectors, may have beside."""


def num_lines(source: bytes) -> int:
    """Return the lines of code: without empty lines, comments and docstrings."""
    text = source.decode()
    left_out = {
        line
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    ends = {tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    lines = {
        line
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type not in ends | {tokenize.COMMENT}
        for line in range(token.start[0], token.end[0] + 1)
    }
    return len(lines - left_out)


def names(code: Code) -> list[str]:
    return [file.relative_to("workbench").as_posix() for file in code.files]


def test_prediction_carries_nothing_of_training() -> None:
    code = code_for(set(VIEWS.values()), ["alexnet.tv_in1k"])
    assert [name for name in names(code) if name.startswith(NOT_FOR_PREDICTION)] == []
    assert not code.libraries & {"optuna", "mlflow", "plotly", "pandas", "sklearn", "yaml", "typer"}


def test_a_view_that_the_model_does_not_read_is_left_out() -> None:
    code = code_for({Mel}, ["resnet18"])
    assert "media/mel.py" in names(code)
    assert not {"media/faces.py", "media/cqt.py", "media/face_detectors.py"} & set(names(code))
    assert code.files[Path("workbench/media/views.py")].endswith(b"\nAnyView = Mel\n")


def test_heads_are_there_for_a_model_that_has_one_of_its_own() -> None:
    heads = {"parts/two_labels.py", "parts/fitted_heads.py"}
    assert heads <= set(names(code_for({Mel}, ["resnet18"], has_own_head=True)))
    assert not heads & set(names(code_for({Mel}, ["resnet18"])))


@pytest.mark.parametrize("kind", VIEWS)
def test_a_bundle_is_no_more_code_than_prediction_needs(kind: str) -> None:
    code = code_for({VIEWS[kind]}, ["resnet18"])
    has_faces = "media/faces.py" in names(code)
    most = MOST_CODE_LINES + has_faces * FACE_CODE_LINES
    assert sum(map(num_lines, code.files.values())) <= most
    most = MOST_LINES + has_faces * FACE_LINES
    assert sum(source.count(b"\n") for source in code.files.values()) <= most


def test_a_bundle_reads_no_stream_that_its_views_do_not() -> None:
    of_sound, of_video, of_pictures = (
        set(names(code_for({VIEWS[kind]}, ["resnet18"]))) for kind in ("mel", "frames", "image")
    )
    sound, video = {"media/audio.py"}, {"media/video.py", "media/rendering.py"}
    assert sound <= of_sound and not video & of_sound
    assert video <= of_video and not sound & of_video
    assert not (sound | video | {"media/streams.py"}) & of_pictures
    for never in ("media/facts.py", "media/reading.py", "parts/alexnet.py", "validation.py"):
        assert never not in of_sound | of_video | of_pictures
