"""The trained models that help to make views: their weights, and what those saw."""

from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version

from workbench.errors import ConfigError
from workbench.media.face_detectors import YuFace, YuNet
from workbench.media.faces import FaceView
from workbench.media.view import View
from workbench.rules.onnx_file import num_parameters
from workbench.rules.subject import HelperModel

_YUFACE_PARAMS = 53_104
"""Weights and biases of the convolutions in yuface 2023.5.1, by their symbols in its library: its
`.data` holds 53,184 numbers, 80 of them zeros that fill up the first layer's 27 inputs to 32."""


def helpers_of(view: View) -> tuple[HelperModel, ...]:
    """Return the trained models that help to make `view`."""
    return (_of_detector(view.detector),) if isinstance(view, FaceView) else ()


def _of_detector(detector: YuFace | YuNet) -> HelperModel:
    if isinstance(detector, YuFace):  # its weights are compiled into the package
        package = "package yuface"
        with suppress(PackageNotFoundError):
            package += f" {version('yuface')}"
        return HelperModel(
            name="the face detector yuface", source=package, saw="WIDER FACE", params=_YUFACE_PARAMS
        )
    try:
        params = num_parameters(detector.path().read_bytes())
    except (ConfigError, OSError):
        params = None
    return HelperModel(
        name="the face detector yunet",
        source=f"model file of SHA-256 {detector.sha256[:12]}",
        saw="data that no one names (WIDER FACE, if it is the authors' own file)",
        params=params,
    )
