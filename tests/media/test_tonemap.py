"""High dynamic range on ordinary screens: the standards' own figures, and what must hold."""

import numpy as np
import pytest
from av.video.reformatter import ColorPrimaries, ColorTrc

from workbench.media.tonemap import Codes, compressed_nits, hlg_scene, pq_nits, pq_signal, to_sdr
from workbench.media.view import Picture

PQ, HLG = ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67
BT2020, BT709 = ColorPrimaries.BT2020, ColorPrimaries.BT709


def grey(signal: float) -> Codes:
    return np.full((2, 3, 3), round(65_535 * signal), np.uint16)


def level(codes: Codes, transfer: int, primaries: int = BT2020) -> int:
    picture = to_sdr(codes, transfer, primaries)
    assert picture.shape == codes.shape
    assert picture.dtype == np.uint8
    assert np.unique(picture).size == 1
    return int(picture[0, 0, 0])


@pytest.mark.parametrize(
    ("signal", "nits"),
    # Full scale; ITU-R BT.2408, table 1: the levels of reference white and of a grey of 18%.
    [(0.0, 0), (1.0, 10_000), (0.58, 203), (0.38, 26)],
)
def test_pq_has_the_standards_levels(signal: float, nits: float) -> None:
    assert pq_nits(np.array([signal]))[0] == pytest.approx(nits, rel=0.02)
    assert pq_signal(pq_nits(np.array([signal])))[0] == pytest.approx(signal, abs=1e-6)


def test_hlg_has_the_standards_levels() -> None:
    # BT.2100: half of the signal is a twelfth of the scene's light; full scale is 1. BT.2408:
    # reference white is 75%, which a monitor of 1,000 cd/m2 (gamma 1.2) shows as 203.
    scene = hlg_scene(np.array([0.0, 0.5, 1.0, 0.75]))
    assert scene[:3] == pytest.approx([0, 1 / 12, 1], abs=1e-6)
    assert 1000 * scene[3] ** 1.2 == pytest.approx(203, rel=0.005)


def test_compression_leaves_what_is_dark_and_ends_in_white() -> None:
    # The knee is at 1.5 * 0.7724 - 0.5 = 0.6586 of the peak's signal 0.7518: 88 cd/m2.
    nits = np.array([0.0, 1, 26, 50, 87])
    assert compressed_nits(nits) == pytest.approx(nits, rel=1e-6, abs=1e-6)
    assert compressed_nits(np.array([1000.0, 4000]))[:] == pytest.approx([203, 203])
    # Worked by hand: t = 1/3, so 20/27 of the knee, 4/27 of the rest, 7/27 of white: 0.7387 of the
    # peak's signal.
    assert compressed_nits(np.array([203.0]))[0] == pytest.approx(159, rel=0.005)
    ramp = compressed_nits(np.linspace(0, 1000, 5000))
    assert (np.diff(ramp) > 0).all()


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_greys_have_the_levels_worked_by_hand(transfer: ColorTrc) -> None:
    white, middle = {PQ: (0.5807, 0.3794), HLG: (0.75, 0.38)}[transfer]
    # 159 of 203 cd/m2 through a screen's gamma of 2.4: 255 * 0.783 ** (1 / 2.4) = 231; and 26 of
    # 203: 255 * 0.128 ** (1 / 2.4) = 108.
    assert level(grey(white), transfer) == pytest.approx(231, abs=1)
    assert level(grey(middle), transfer) == pytest.approx(108, abs=2)
    assert level(grey(0), transfer) == 0
    assert level(grey(1), transfer) == 255


@pytest.mark.parametrize("transfer", [PQ, HLG])
@pytest.mark.parametrize("primaries", [BT2020, BT709, ColorPrimaries.UNSPECIFIED])
def test_greys_stay_grey_and_rise(transfer: int, primaries: int) -> None:
    levels = [level(grey(signal), transfer, primaries) for signal in np.linspace(0, 1, 60)]
    assert levels == sorted(levels)
    assert len(set(levels)) > 30


def test_primaries_are_those_of_an_ordinary_screen() -> None:
    def shown(primaries: int) -> Picture:
        # Light of (60, 40, 30) cd/m2: none of it is compressed.
        signal = pq_signal(np.array([60.0, 40, 30]))
        codes = np.broadcast_to(np.rint(65_535 * signal).astype(np.uint16), (1, 1, 3))
        picture: Picture = to_sdr(codes, PQ, primaries)[0, 0]
        return picture

    def encoded(nits: list[float]) -> list[int]:
        return [round(255 * (value / 203) ** (1 / 2.4)) for value in nits]

    assert np.abs(shown(BT709) - np.array(encoded([60, 40, 30]))).max() <= 1
    # 1.660 * 60 - 0.588 * 40 - 0.073 * 30 and so on.
    assert np.abs(shown(BT2020) - np.array(encoded([73.94, 37.59, 28.45]))).max() <= 1


def test_a_bright_light_stays_its_colour() -> None:
    # Ten times the light of the test above, as BT.709: the mean luminance is compressed, and the
    # shares of red, green and blue stay.
    signal = pq_signal(np.array([600.0, 400, 300]))
    codes = np.broadcast_to(np.rint(65_535 * signal).astype(np.uint16), (300, 2, 3))
    picture = to_sdr(codes, PQ, BT709)
    assert (picture == picture[0, 0]).all()
    light = (picture[0, 0] / 255.0) ** 2.4
    assert light[1] / light[2] == pytest.approx(4 / 3, rel=0.05)
