import pickle
import shutil
import struct
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import matplotlib.cbook
import numpy as np
import numpy.typing as npt
import pytest
from pydantic import TypeAdapter, ValidationError

from workbench.errors import ConfigError
from workbench.files import hash_file
from workbench.media import face_detectors
from workbench.media.face_detectors import AnyDetector, Face, YuFace, YuNet, shrunk
from workbench.media.image import read_picture
from workbench.values import kinds

Picture = npt.NDArray[np.uint8]

needs_yuface = pytest.mark.skipif(find_spec("yuface") is None, reason="yuface is not installed")


def portrait() -> Picture:
    """Return (600, 512, 3): a photograph of one person, upright, that matplotlib ships."""
    path = matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)
    return read_picture(Path(path)).picture


def resized(picture: Picture, factor: float) -> Picture:
    area: Picture = cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    return area


# A YuNet-like model written by hand, as ONNX's protocol buffers: it finds a face at every 8 x 8
# pixels that are red, three cells wide and six high.

HEADS = {
    # Weights of (blue, green, red) for each output, then what is added.
    "cls": ([[0, 0, 1 / 255]], [0.0]),
    "obj": ([[0, 0, 0]], [1.0]),
    "bbox": ([[0, 0, 0]] * 4, [0.5, 0.5, np.log(3), np.log(6)]),
    "kps": ([[0, 0, 0]] * 10, [0, 0, 1, 0, 0.5, 0.5, 0, 1, 1, 1]),
}


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def varint(value: int) -> bytes:
    low, rest = value & 127, value >> 7
    return bytes([low | 128]) + varint(rest) if rest else bytes([low])


def part(field: int, content: bytes | str) -> bytes:
    content = content.encode() if isinstance(content, str) else content
    return varint(field << 3 | 2) + varint(len(content)) + content


def node(operator: str, inputs: Sequence[str], output: str, **attributes: Sequence[int]) -> bytes:
    listed = b"".join(
        part(5, part(1, name) + b"".join(number(8, v) for v in values) + number(20, 7))
        for name, values in attributes.items()
    )
    names = b"".join(part(1, name) for name in inputs)
    return part(1, names + part(2, output) + part(4, operator) + listed)


def constant(name: str, values: npt.NDArray[Any]) -> bytes:
    is_whole = values.dtype == np.int64
    dims = b"".join(number(1, size) for size in values.shape)
    kind = "q" if is_whole else "f"
    data = struct.pack(f"<{values.size}{kind}", *values.ravel().tolist())
    return part(5, dims + number(2, 7 if is_whole else 1) + part(8, name) + part(9, data))


def tensor(field: int, name: str, shape: Sequence[int]) -> bytes:
    sizes = b"".join(part(1, number(1, size)) for size in shape)
    return part(field, part(1, name) + part(2, part(1, number(1, 1) + part(2, sizes))))


def write_model(path: Path, *, extra_size: float = 0.0) -> Path:
    """Write the model; `extra_size` is added to the logarithm of its boxes' sides."""
    graph = b"".join(
        node("AveragePool", ["input"], f"p{s}", kernel_shape=[s, s], strides=[s, s])
        for s in (8, 16, 32)
    )
    for name, (weights, added) in HEADS.items():
        for stride in (8, 16, 32):
            head, channels = f"{name}_{stride}", len(added)
            bias = np.array(added, np.float32)
            if stride != 8:
                bias = 0 * bias  # no face at coarser strides
            elif name == "bbox":
                bias[2:] += extra_size
            graph += constant(f"w_{head}", np.array(weights, np.float32).reshape(channels, 3, 1, 1))
            graph += constant(f"b_{head}", bias)
            graph += constant(f"r_{head}", np.array([1, -1, channels]))
            inputs = [f"p{stride}", f"w_{head}", f"b_{head}"]
            graph += node("Conv", inputs, f"c_{head}", kernel_shape=[1, 1])
            graph += node("Transpose", [f"c_{head}"], f"t_{head}", perm=[0, 2, 3, 1])
            graph += node("Reshape", [f"t_{head}", f"r_{head}"], head)
            graph += tensor(12, head, [1, (640 // stride) ** 2, channels])
    graph += part(2, "tiny") + tensor(11, "input", [1, 3, 640, 640])
    path.write_bytes(number(1, 8) + part(7, graph) + part(8, number(2, 11)))
    return path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "tiny.onnx")


def red_cell(width: int = 160, height: int = 96) -> Picture:
    """Return a black picture with one red cell, columns 32 to 40 and rows 16 to 24."""
    picture = np.zeros((height, width, 3), np.uint8)
    picture[16:24, 32:40, 0] = 255
    return picture


# What a face is.


def face(**changes: Any) -> Face:
    points = ((30.0, 40.0), (50.0, 40.0), (40.0, 50.0), (32.0, 60.0), (48.0, 60.0))
    return Face(
        **{**dict(x=20, y=20, width=40, height=60, confidence=0.9), **changes}, landmarks=points
    )


def test_a_face_knows_its_middle_and_size() -> None:
    assert face().centre == (40, 50)
    assert face().side == 60
    assert face().area == 2400
    assert face().tilt_rad == 0


def test_a_head_turned_clockwise_has_a_positive_tilt() -> None:
    turned = Face(0, 0, 9, 9, 1, ((0.0, 0.0), (2.0, 2.0), *[(1.0, 1.0)] * 3))
    assert turned.tilt_rad == pytest.approx(np.pi / 4)  # the left eye is lower in the picture


def test_scaling_moves_box_and_landmarks() -> None:
    scaled = face().scaled(2, 0.5)
    assert (scaled.x, scaled.y, scaled.width, scaled.height) == (40, 10, 80, 30)
    assert scaled.landmarks[1] == (100, 20)
    assert scaled.confidence == 0.9


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((1280, 720), (640, 360)),
        ((720, 1280), (360, 640)),
        ((640, 10), (640, 10)),
        ((8000, 2), (640, 1)),
    ],
)
def test_only_large_pictures_shrink(size: tuple[int, int], expected: tuple[int, int]) -> None:
    width, height = size
    small = shrunk(np.zeros((height, width, 3), np.uint8), 640)
    assert small.shape == (expected[1], expected[0], 3)


# yuface.


@needs_yuface
def test_yuface_finds_the_face_of_a_photograph() -> None:
    (found,) = YuFace().detect(portrait())
    assert 0.85 < found.confidence <= 1
    # Read off the photograph: chin, hairline and ears.
    assert (found.x, found.y) == pytest.approx((182, 121), abs=12)
    assert (found.width, found.height) == pytest.approx((171, 211), abs=15)
    expected = [(228, 193), (307, 195), (266, 240), (228, 267), (302, 269)]
    assert np.abs(np.array(found.landmarks) - expected).max() < 8


@needs_yuface
def test_a_picture_that_is_shrunk_before_has_the_same_face() -> None:
    (found,), (large,) = YuFace().detect(portrait()), YuFace().detect(resized(portrait(), 3))
    box = np.array([found.x, found.y, found.width, found.height])
    assert np.array([large.x, large.y, large.width, large.height]) == pytest.approx(3 * box, abs=25)


@needs_yuface
def test_a_mirrored_view_of_an_array_is_read_as_the_picture_it_is() -> None:
    # The library itself reads the memory from its beginning, whatever the strides.
    mirrored = portrait()[:, ::-1]
    assert YuFace().detect(mirrored) == YuFace().detect(mirrored.copy())
    assert YuFace().detect(mirrored)[0].x == pytest.approx(512 - 182 - 171, abs=15)


@needs_yuface
def test_the_largest_face_comes_first() -> None:
    picture = np.zeros((600, 768, 3), np.uint8)
    picture[:300, :256] = resized(portrait(), 0.5)
    picture[:, 256:] = portrait()
    large, small = YuFace(detect_px=768).detect(picture)
    assert large.centre == pytest.approx((256 + 267, 226), abs=15)
    assert small.centre == pytest.approx((133, 113), abs=15)


@needs_yuface
@pytest.mark.parametrize("size", [(1, 1), (1, 700), (700, 1), (5, 7), (64, 64)])
def test_a_picture_without_a_face_has_none(size: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    assert YuFace().detect(noise) == []


@needs_yuface
def test_faint_faces_are_left_out() -> None:
    tiny = resized(portrait(), 0.06)  # a face of 10 x 13 pixels
    (faint,) = YuFace(min_confidence=0.1).detect(tiny)
    assert 0.1 <= faint.confidence < 0.5
    assert YuFace().detect(tiny) == []
    assert YuFace(min_confidence=faint.confidence).detect(tiny) == [faint]


def test_yuface_gets_blue_first_and_its_percents_become_shares(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = []

    def detect(picture: Picture, least: float) -> tuple[npt.NDArray[np.int16], ...]:
        seen.append(picture)
        table = np.array([[60, 4, 3, 8, 9, *range(10)], [49, 4, 3, 8, 9, *range(10)]], np.int16)
        return table[:, 0], table[:, 1:5], table[:, 5:]

    monkeypatch.setitem(sys.modules, "yuface", SimpleNamespace(detect=detect))
    picture = np.zeros((20, 30, 3), np.uint8)
    picture[..., 0] = 200
    (found,) = YuFace().detect(picture)
    assert seen[0][0, 0].tolist() == [0, 0, 200]
    landmarks = ((0, 1), (2, 3), (4, 5), (6, 7), (8, 9))
    assert found == Face(4, 3, 8, 9, 0.6, landmarks)


def test_without_yuface_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yuface", None)
    with pytest.raises(ConfigError, match=r'pip install -e "\.\[faces\]"'):
        YuFace().detect(portrait())


# A YuNet model file.


def test_a_yunet_file_finds_what_its_weights_say(model: Path) -> None:
    # Row 2, column 4 of cells of 8 pixels: (4 + 0.5) * 8 = 36 across, 20 down; sides 24 and 48.
    (found,) = YuNet(file=str(model)).detect(red_cell())
    assert (found.x, found.y) == pytest.approx((24, -4), abs=1e-4)
    assert (found.width, found.height) == pytest.approx((24, 48), abs=1e-4)
    assert found.landmarks == ((32, 16), (40, 16), (36, 20), (32, 24), (40, 24))
    assert found.confidence == pytest.approx(1)


@pytest.mark.parametrize("size", [(64, 64), (75, 50), (320, 200)])
def test_pictures_of_any_size_follow_one_another(model: Path, size: tuple[int, int]) -> None:
    detector = YuNet(file=str(model))
    for width, height in (size, (160, 96)):
        assert detector.detect(red_cell(width, height))[0].centre == pytest.approx(
            (36, 20), abs=1e-4
        )


def test_a_yunet_box_of_a_shrunk_picture_is_scaled_back(model: Path) -> None:
    large = np.zeros((200, 320, 3), np.uint8)
    large[32:48, 64:80, 0] = 255
    (found,) = YuNet(file=str(model), detect_px=160).detect(large)
    assert found.centre == pytest.approx((72, 40), abs=1e-4)
    assert (found.width, found.height) == pytest.approx((48, 96), abs=1e-3)


def test_a_yunet_confidence_is_held_against_the_least(model: Path) -> None:
    picture = red_cell() // 2  # red 127: the root of 127 / 255 is 0.706
    assert YuNet(file=str(model), min_confidence=0.75).detect(picture) == []
    (found,) = YuNet(file=str(model), min_confidence=0.7).detect(picture)
    assert found.confidence == pytest.approx((127 / 255) ** 0.5, abs=1e-3)


@pytest.mark.parametrize("extra_size", [10.0, 200.0])
def test_boxes_that_fit_no_picture_are_left_out(tmp_path: Path, extra_size: float) -> None:
    wild = write_model(tmp_path / "wild.onnx", extra_size=extra_size)  # e**200: infinite
    assert YuNet(file=str(wild)).detect(red_cell()) == []


def test_loading_a_model_leaves_the_terminal_clean(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    YuNet(file=str(write_model(tmp_path / "x.onnx")), min_confidence=0.123).detect(red_cell())
    assert capfd.readouterr() == ("", "")


def test_the_sha256_is_read_from_the_file(model: Path) -> None:
    assert YuNet(file=str(model)).sha256 == hash_file(model)
    given = YuNet(file="elsewhere.onnx", sha256="a" * 64)
    assert given.sha256 == "a" * 64  # nothing is opened


def test_a_file_that_is_not_there_needs_a_sha256(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match=r"absent\.onnx' cannot be read.*Name an existing"):
        YuNet(file=str(tmp_path / "absent.onnx"))
    with pytest.raises(ValidationError, match="cannot be read"):
        YuNet(file=str(tmp_path))


def test_a_device_is_no_model_file() -> None:
    # A stranger's experiment may name /dev/zero, which has no end.
    with pytest.raises(ValidationError, match="'/dev/null' cannot be read"):
        YuNet(file="/dev/null")


def test_a_bundle_has_the_file_under_its_sha256(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = YuNet(file=str(model), min_confidence=0.4)
    bundled = tmp_path / "detectors"
    bundled.mkdir()
    monkeypatch.setattr(face_detectors, "BUNDLED", bundled)
    assert detector.path() == model
    shutil.move(model, bundled / f"{detector.sha256}.onnx")
    assert detector.path() == bundled / f"{detector.sha256}.onnx"
    there = YuNet.model_validate(detector.model_dump())
    assert there == detector
    assert there.detect(red_cell())[0].centre == pytest.approx((36, 20), abs=1e-4)


def test_a_file_that_is_gone_or_changed_is_refused(model: Path) -> None:
    detector = YuNet(file=str(model), min_confidence=0.45)
    model.write_bytes(b"changed")
    with pytest.raises(ConfigError, match=r"tiny\.onnx has another content.*Put that file back"):
        detector.detect(red_cell())
    model.unlink()
    with pytest.raises(ConfigError, match=r"tiny\.onnx is not a file"):
        detector.detect(red_cell())


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.onnx"
    path.write_text("this is no model\n" * 50)
    with pytest.raises(ConfigError, match="no YuNet model"):
        YuNet(file=str(path)).detect(red_cell())


# As settings.


def test_a_detector_is_chosen_by_its_kind_and_crosses_processes(model: Path) -> None:
    assert list(kinds(AnyDetector)) == ["yuface", "yunet"]
    for detector in (YuFace(min_confidence=0.4), YuNet(file=str(model))):
        assert TypeAdapter(AnyDetector).validate_python(detector.model_dump()) == detector
        assert pickle.loads(pickle.dumps(detector)) == detector
        assert hash(pickle.loads(pickle.dumps(detector))) == hash(detector)


def test_only_yuface_needs_a_library(model: Path) -> None:
    assert YuFace().libraries == {"yuface"}
    assert YuNet(file=str(model)).libraries == frozenset()


@pytest.mark.parametrize(
    ("settings", "wrong"),
    [
        ({"kind": "yuface", "min_confidence": 0}, "min_confidence"),
        ({"kind": "yuface", "detect_px": 2000}, "detect_px"),
        ({"kind": "yuface", "file": "x"}, "file"),
        ({"kind": "yunet"}, "file"),
        ({"kind": "yunet", "file": 3}, "file"),
        ({"kind": "yunet", "file": "x", "sha256": "abc"}, "sha256"),
        ({"kind": "mtcnn"}, "kind"),
    ],
)
def test_settings_out_of_bounds_are_refused(settings: dict[str, object], wrong: str) -> None:
    with pytest.raises(ValidationError, match=wrong):
        TypeAdapter(AnyDetector).validate_python(settings)
