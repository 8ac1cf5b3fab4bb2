from pathlib import Path

import pytest

from tests.media.test_face_detectors import part, write_model
from workbench.rules.onnx_file import num_parameters


def test_weights_count_and_shapes_do_not(tmp_path: Path) -> None:
    # Of each of three strides: 16 outputs of 3 weights and a bias; shapes are whole numbers.
    assert num_parameters(write_model(tmp_path / "tiny.onnx").read_bytes()) == 3 * 16 * 4


def test_packed_dimensions_are_read_too() -> None:
    tensor = part(1, bytes([200, 1, 3])) + bytes([2 << 3, 1])  # (200, 3) of 32-bit floats
    assert num_parameters(part(7, part(5, tensor))) == 600


@pytest.mark.parametrize(
    "data",
    [b"", b"\xff", b"no model at all", part(7, "x" * 9)[:-1]],
    ids=["empty", "half a number", "text", "cut off"],
)
def test_what_is_no_model_has_no_count(data: bytes) -> None:
    assert num_parameters(data) is None
