"""The share of fakes in what a training sees, for losses that balance classes."""

from torch import Tensor

from workbench.media.declared import Modalities
from workbench.trial.drawn_copies import DrawnCopies
from workbench.trial.training_spec import TrainingSpec


def fake_shares(
    targets: Tensor,
    labels: Tensor | None,
    originals: Tensor,
    copies: DrawnCopies | None,
    spec: TrainingSpec,
    modalities: Modalities,
) -> tuple[float, list[float]]:
    """Return the mean label of an epoch's samples, and that of what is known of both parts.

    On average, of what is seen: with copies, blends and fakes mixed with their originals, and with
    as many of both classes where these are balanced. Of a part of which only one class is known it
    is 0.5: classes of which one is not there cannot be balanced.

    Args:
        targets: (files,) of the files themselves, 0 for real and 1 for fake.
        labels: (files, 2) or more rows, as `two_labels.labels_of` returns them; None of one label.
        originals: (files,) or more rows, see `originals_of`.
        copies: Those that are drawn.
        spec: How it is trained.
        modalities: Of the views, by name; without pictures, none is blended with itself.
    """
    num_files, is_fake = len(targets), targets == 1
    forged, pairs = (copies.num_forged, copies.num_pairs) if copies else (0.0, 0.0)
    fakes = float(is_fake.sum()) + forged
    reals = num_files - fakes
    times = 1.0  # that a fake is seen
    if spec.sampling.balanced:
        times = num_files / 2 / max(1.0, fakes)
        pairs *= num_files / 2 / max(1.0, reals)
        fakes = reals = num_files / 2
    # Of a fake that is mixed with its original one half is left, on average; of a copy it is known.
    kept = 0.5 if spec.augment.paired_mixup_alpha > 0 else 1.0
    own = (originals[:num_files] >= 0).double() * (kept - 1) + 1
    blends = spec.augment.pictures.self_blend * reals if "picture" in modalities.values() else 0.0
    mass = times * (float(own[is_fake].sum()) + kept * forged) + kept * pairs + blends
    shares = []
    columns = [] if labels is None else [*labels[:num_files].T]
    for label, blended in zip(columns, (0.0, blends), strict=False):
        known = is_fake & ~label.isnan()
        part = times * float((own * label)[known].sum()) + blended
        share = part / (times * float(known.sum()) + reals + blends)
        shares.append(share if 0 < share < 1 else 0.5)
    return mass / (fakes + reals + pairs + blends), shares
