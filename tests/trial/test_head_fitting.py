"""What a fit finds, as a head computes it, against scikit-learn's own probabilities."""

import numpy as np
import numpy.typing as npt
import pytest
import torch
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import LogisticRegression as SklearnLine
from sklearn.utils.class_weight import compute_sample_weight

from workbench.parts.methods import (
    AnyFit,
    GradientBoosting,
    LogisticRegression,
    NoisyOrRegression,
)
from workbench.trial.head_fitting import fit_head


def made(num_samples: int = 80) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Six features, of which two tell and two have few values, so that samples meet a split."""
    rng = np.random.default_rng(0)
    targets = (np.arange(num_samples) % 3 == 0).astype(np.int64)
    features = rng.normal(targets[:, None], 2, (num_samples, 6))
    features[:, 2:4] = features[:, 2:4].round()
    features[:, 4:] = rng.normal(5, 100, (num_samples, 2))
    return features.astype(np.float32), targets


def probability(
    fit: AnyFit,
    features: npt.NDArray[np.float32],
    targets: npt.NDArray[np.int64],
    *,
    balanced: bool = False,
    asked: npt.NDArray[np.float32] | None = None,
    parts: npt.NDArray[np.float64] | None = None,
) -> npt.NDArray[np.float64]:
    widths = (2, features.shape[1] - 2) if features.shape[1] > 2 else (features.shape[1],)
    state = fit_head(
        fit,
        features,
        targets,
        widths=widths,
        are_sounds=[True, False][: len(widths)],
        fake_parts=np.full((len(targets), 2), np.nan) if parts is None else parts,
        balanced=balanced,
        seed=3,
    )
    head = fit.head.build(features.shape[1])
    head.load_state_dict(state)
    logits = head(torch.from_numpy(features if asked is None else asked))
    found: npt.NDArray[np.float64] = torch.sigmoid(logits[:, 1] - logits[:, 0]).detach().numpy()
    return found


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("depth", [1, 4])
def test_trees_say_what_gradient_boosting_says(depth: int, balanced: bool) -> None:
    features, targets = made()
    fit = GradientBoosting(
        num_trees=30,
        depth=depth,
        learning_rate=0.2,
        leaf_samples=3,
        feature_share=0.5,
        sample_share=0.7,
    )
    reference = GradientBoostingClassifier(
        n_estimators=30,
        max_depth=depth,
        learning_rate=0.2,
        min_samples_leaf=3,
        max_features=0.5,
        subsample=0.7,
        random_state=3,
    )
    weights = compute_sample_weight("balanced", targets) if balanced else None
    reference.fit(features, targets, sample_weight=weights)
    # Also where a split is met to the last digit, and just beside it.
    splits = np.concatenate([tree.tree_.threshold for tree in reference.estimators_[:, 0]])
    near = np.repeat(splits.astype(np.float32)[:, None], 6, axis=1)
    asked = np.concatenate([features, near, np.nextafter(near, np.float32(np.inf))])
    found = probability(fit, features, targets, balanced=balanced, asked=asked)
    np.testing.assert_allclose(found, reference.predict_proba(asked)[:, 1], atol=1e-6)


@pytest.mark.parametrize("balanced", [False, True])
def test_a_line_says_what_logistic_regression_says_of_standardised_features(
    balanced: bool,
) -> None:
    features, targets = made()
    rows = features.astype(np.float64)
    rows = (rows - rows.mean(axis=0)) / rows.std(axis=0)
    reference = SklearnLine(C=0.1, tol=1e-8, class_weight="balanced" if balanced else None)
    expected = reference.fit(rows, targets).predict_proba(rows)[:, 1]
    found = probability(LogisticRegression(c=0.1), features, targets, balanced=balanced)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("fit", [LogisticRegression(), GradientBoosting(num_trees=3)])
def test_features_that_never_move_leave_the_share_of_fakes(fit: AnyFit) -> None:
    features, targets = np.full((40, 2), 3.0, np.float32), np.arange(40) % 4 // 3
    np.testing.assert_allclose(probability(fit, features, targets), 0.25, atol=1e-5)
    balanced = probability(fit, features, targets, balanced=True)
    np.testing.assert_allclose(balanced, 0.5, atol=1e-5)


def test_views_are_evened_by_their_variance_together() -> None:
    features, targets = made()
    state = fit_head(
        LogisticRegression(even_views=True),
        features,
        targets,
        widths=(2, 4),
        are_sounds=(True, False),
        fake_parts=np.full((len(targets), 2), np.nan),
        balanced=False,
        seed=0,
    )
    variance = (features.std(axis=0) / state["scale"].numpy()) ** 2
    # Two views of six features: three for each, as six in all without it.
    assert variance[:2].sum() == pytest.approx(3, rel=1e-5)
    assert variance[2:].sum() == pytest.approx(3, rel=1e-5)


def test_the_same_seed_grows_the_same_trees() -> None:
    features, targets = made()
    fit = GradientBoosting(num_trees=5, feature_share=0.3, sample_share=0.5)
    first, again = (probability(fit, features, targets) for _ in range(2))
    np.testing.assert_array_equal(first, again)


def of_two_parts() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]:
    """Return features of which two tell the sound and four the picture, and what of each is fake.

    A file is fake by its sound, by its picture, or by both.
    """
    rng = np.random.default_rng(1)
    parts = (rng.random((160, 2)) < 0.4).astype(np.float64)
    features = rng.normal(0, 1, (160, 6))
    features[:, :2] += parts[:, :1]
    features[:, 2:] += parts[:, 1:] / 2
    return features.astype(np.float32), parts


@pytest.mark.parametrize("balanced", [False, True])
def test_a_noisy_or_of_known_parts_is_two_regressions_each_of_its_own_views(
    balanced: bool,
) -> None:
    features, parts = of_two_parts()
    targets = parts.max(axis=1).astype(np.int64)
    weights = compute_sample_weight("balanced", targets) if balanced else np.ones(len(targets))
    neither = np.ones(len(targets))
    for views, part, c in ((slice(0, 2), 0, 0.5), (slice(2, 6), 1, 0.1)):
        rows = features[:, views].astype(np.float64)
        rows = (rows - rows.mean(axis=0)) / rows.std(axis=0) / np.sqrt(rows.shape[1])
        line = SklearnLine(C=c, tol=1e-8).fit(rows, parts[:, part], sample_weight=weights)
        neither *= line.predict_proba(rows)[:, 0]
    fit = NoisyOrRegression(sound_c=0.5, picture_c=0.1)
    found = probability(fit, features, targets, balanced=balanced, parts=parts)
    np.testing.assert_allclose(found, 1 - neither, atol=1e-4)


def test_what_one_part_and_the_target_say_of_the_other_is_known() -> None:
    features, parts = of_two_parts()
    targets = parts.max(axis=1).astype(np.int64)
    some = parts.copy()
    some[targets == 0] = np.nan  # a real file: neither
    some[(parts == [0, 1]).all(axis=1), 1] = np.nan  # a fake of real sound: the picture
    assert np.isnan(some).any()
    whole, told = (
        probability(NoisyOrRegression(), features, targets, parts=each) for each in (parts, some)
    )
    np.testing.assert_allclose(told, whole, atol=1e-6)


def test_a_noisy_or_of_unknown_parts_is_the_likeliest_that_explains_the_labels() -> None:
    # Where no feature moves, only the biases learn: 1 - (1 - a) (1 - b) is the share of fakes.
    features, targets = np.full((40, 3), 3.0, np.float32), np.arange(40) % 4 // 3
    found = probability(NoisyOrRegression(), features, targets)
    np.testing.assert_allclose(found, 0.25, atol=1e-4)
    features, parts = of_two_parts()
    targets = parts.max(axis=1).astype(np.int64)
    fit = NoisyOrRegression(sound_c=10, picture_c=10)
    found = probability(fit, features, targets)
    assert found[targets == 1].mean() > found[targets == 0].mean() + 0.2
