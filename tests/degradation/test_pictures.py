import numpy as np
import pytest

from workbench.degradation.degradations import DEGRADATIONS, Degradation
from workbench.degradation.pictures import as_jpeg, half_size, noisy, with_blur
from workbench.errors import MediaError
from workbench.media.view import Picture

OF_PICTURES = [each for each in DEGRADATIONS.values() if each.of_picture]


def textured(height: int = 61, width: int = 87) -> Picture:
    """A smooth picture with a little noise; its sides are odd."""
    down, across = np.mgrid[:height, :width]
    smooth = np.stack([2 * across, 3 * down, 120 + 0 * down], axis=-1)
    noise = np.random.default_rng(0).normal(0, 12, smooth.shape)
    return (smooth + noise).clip(0, 255).astype(np.uint8)


def distance(one: Picture, other: Picture) -> float:
    return float(np.mean((one.astype(float) - other) ** 2))


@pytest.mark.parametrize("degradation", OF_PICTURES, ids=lambda each: each.name)
def test_a_picture_gets_worse_keeps_its_size_and_is_the_same_twice(
    degradation: Degradation,
) -> None:
    picture = textured()
    before = picture.copy()
    assert degradation.of_picture
    worse, again = (degradation.of_picture(picture, degradation.random(picture)) for _ in range(2))
    assert worse.shape == picture.shape
    assert worse.dtype == np.uint8
    np.testing.assert_array_equal(worse, again)
    np.testing.assert_array_equal(picture, before)
    assert 4 < distance(worse, picture) < 600


def test_a_jpeg_of_less_quality_is_further_off_and_shows_its_blocks() -> None:
    picture = textured(64, 96)
    fine, coarse = as_jpeg(picture, 50), as_jpeg(picture, 10)
    assert distance(coarse, picture) > distance(fine, picture)
    steps = np.abs(np.diff(coarse.astype(float), axis=1)).mean(axis=(0, 2))
    at_edges = np.arange(1, 96) % 8 == 0
    assert steps[at_edges].mean() > 2 * steps[~at_edges].mean()


def test_a_jpeg_has_the_colours_in_their_order() -> None:
    red = np.zeros((16, 16, 3), np.uint8)
    red[..., 0] = 200
    np.testing.assert_allclose(as_jpeg(red, 90).mean(axis=(0, 1)), [200, 0, 0], atol=3)


def test_a_side_too_long_for_a_jpeg_is_an_outcome() -> None:
    with pytest.raises(MediaError, match="side") as caught:
        as_jpeg(np.zeros((1, 65_501, 3), np.uint8), 30)
    assert caught.value.status == "too_large"


def test_half_the_size_loses_what_is_one_pixel_wide() -> None:
    stripes = np.zeros((8, 8, 3), np.uint8)
    stripes[:, ::2] = 200
    assert (half_size(stripes) == 100).all()
    assert half_size(np.full((1, 1, 3), 7, np.uint8)).tolist() == [[[7, 7, 7]]]


def test_a_blur_spreads_a_line_by_a_share_of_the_side() -> None:
    line = np.zeros((300, 300, 3), np.uint8)
    line[:, 150] = 255
    # A standard deviation of 300 / 150 = 2 pixels: the peak is 1 / (2 sqrt(2 pi)) = 0.199 of 255.
    assert with_blur(line)[150, 150, 0] == pytest.approx(255 * 0.199, abs=2)
    assert (with_blur(np.full_like(line, 90)) == 90).all()


def test_the_noise_is_ten_grey_levels_and_another_in_another_picture() -> None:
    grey = np.full((200, 200, 3), 128, np.uint8)
    noise = noisy(grey, np.random.default_rng(0)).astype(float) - 128
    assert noise.std() == pytest.approx(10, rel=0.02)
    assert noise.mean() == pytest.approx(0, abs=0.1)
    degradation = DEGRADATIONS["picture-noise"]
    draws = [degradation.random(grey + np.uint8(add)).integers(2**60) for add in (0, 1)]
    assert draws[0] != draws[1]
