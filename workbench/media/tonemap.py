"""High dynamic range (PQ and HLG) brought to the range of ordinary screens.

The light that a reference monitor of 1,000 cd/m2 gives off is computed (ITU-R BT.2100), its
luminance compressed by the EETF of ITU-R BT.2390 with HDR's reference white, 203 cd/m2 (ITU-R
BT.2408), as the brightest that is left, the primaries turned into those of BT.709, and the rest
written as BT.1886 screens read it. Up to 88 cd/m2, where faces are, only the scale changes.
"""

from functools import cache

import numpy as np
import numpy.typing as npt
from av.video.reformatter import ColorPrimaries, ColorTrc

from workbench.media.view import Picture

Codes = npt.NDArray[np.uint16]
Light = npt.NDArray[np.float32]

HDR = (ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67)
"""Transfer characteristics of high dynamic range: PQ and HLG."""

PEAK_NITS = 1000.0
"""The brightest light that is told apart: of HLG's reference monitor, and of most PQ films'."""

WHITE_NITS = 203.0
"""Light that becomes white."""

_GAMMA = 2.4  # of a BT.1886 screen
_ROWS = 256  # of a picture that are in work at once: bounds the memory
_LUMINANCE = np.array([0.2627, 0.6780, 0.0593], np.float32)  # of BT.2020
# From BT.2020's primaries to those of BT.709 (ITU-R BT.2087, inverted).
_TO_BT709 = np.array(
    [
        [1.660491, -0.587641, -0.072850],
        [-0.124550, 1.132900, -0.008349],
        [-0.018151, -0.100579, 1.118730],
    ],
    np.float32,
)
_WIDE = (ColorPrimaries.BT2020, ColorPrimaries.UNSPECIFIED)


def to_sdr(codes: Codes, transfer: int, primaries: int) -> Picture:
    """Return an HDR picture as an ordinary one.

    Args:
        codes: (height, width, 3) R'G'B', 65,535 being full scale.
        transfer: One of `HDR`.
        primaries: What red, green and blue are, as FFmpeg numbers it; BT.2020's if unspecified,
            BT.709's if neither.
    """
    picture = np.empty(codes.shape, np.uint8)
    for start in range(0, len(codes), _ROWS):
        light = _light(codes[start : start + _ROWS], transfer)
        luminance = light @ _LUMINANCE
        light *= _compression(luminance)[..., None]
        if primaries in _WIDE:
            light = light @ _TO_BT709.T
        picture[start : start + _ROWS] = _encoded(light)
    return picture


def pq_nits(signal: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the light of PQ signals in [0, 1], in cd/m2 (BT.2100, table 4: the EOTF)."""
    m1, m2, c1, c2, c3 = _PQ
    root = signal ** (1 / m2)
    return 10_000 * (np.maximum(root - c1, 0) / (c2 - c3 * root)) ** (1 / m1)


def pq_signal(nits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the PQ signal of light in cd/m2: the inverse of `pq_nits`."""
    m1, m2, c1, c2, c3 = _PQ
    power = (nits / 10_000) ** m1
    return ((c1 + c2 * power) / (1 + c3 * power)) ** m2


_PQ = (2610 / 16384, 2523 / 4096 * 128, 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32)


def hlg_scene(signal: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the light of the scene in [0, 1] of HLG signals (BT.2100, table 5: inverse OETF)."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)


def compressed_nits(nits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return luminance of up to `PEAK_NITS` in up to `WHITE_NITS` (BT.2390, section 5.4.1: EETF).

    Both blacks are 0, so that of the section's steps the Hermite spline above the knee is left.
    """
    peak, white = pq_signal(np.array([PEAK_NITS, WHITE_NITS]))
    most = white / peak
    knee = 1.5 * most - 0.5
    signal = np.minimum(pq_signal(nits) / peak, 1)
    t = (signal - knee) / (1 - knee)
    spline = (
        (2 * t**3 - 3 * t**2 + 1) * knee
        + (t**3 - 2 * t**2 + t) * (1 - knee)
        + (-2 * t**3 + 3 * t**2) * most
    )
    return pq_nits(np.where(signal < knee, signal, spline) * peak)


def _light(codes: Codes, transfer: int) -> Light:
    """Return the light of a reference monitor, 1 being `PEAK_NITS`."""
    light = _linear(transfer)[codes]
    if transfer == ColorTrc.ARIB_STD_B67:
        # The OOTF of a monitor of 1,000 cd/m2: its gamma of 1.2 is of the luminance.
        light *= ((light @ _LUMINANCE) ** np.float32(0.2))[..., None]
    return light


@cache
def _linear(transfer: int) -> Light:
    """Return what `_light` begins with, for each of the 65,536 codes."""
    signal = np.linspace(0, 1, 1 << 16)
    if transfer == ColorTrc.ARIB_STD_B67:
        return hlg_scene(signal).astype(np.float32)
    return (pq_nits(signal) / PEAK_NITS).astype(np.float32)


def _compression(luminance: Light) -> Light:
    """Return by what light is to be multiplied, so that 1 is white from then on."""
    # By the square root: in even steps of the light itself the dark ones would be too wide.
    places = np.sqrt(np.clip(luminance, 0, 1)) * (len(_factors()) - 1)
    factors = _factors()[np.rint(places).astype(np.int32)]
    # Above the peak all is white.
    return factors / np.maximum(luminance, 1)


@cache
def _factors() -> Light:
    nits = PEAK_NITS * np.linspace(0, 1, 1 << 14)[1:] ** 2
    factors = compressed_nits(nits) / nits * (PEAK_NITS / WHITE_NITS)
    return np.concatenate([factors[:1], factors]).astype(np.float32)


def _encoded(light: Light) -> Picture:
    levels = np.clip(light, 0, 1) ** np.float32(1 / _GAMMA)
    return np.rint(255 * levels).astype(np.uint8)
