"""Which files a training learns from."""

from functools import partial
from operator import eq
from typing import Annotated

from pydantic import Field

from workbench.values import Frozen


class Sampling(Frozen):
    """Which training files are seen, and how often."""

    subset: Annotated[int, Field(ge=2)] | Annotated[float, Field(gt=0, le=1)] = 1.0
    """Number of training files that are used, or their share, such as 0.5. The share of fakes stays
    the same, and so do the files in every epoch."""

    seed: int = Field(0, ge=0, lt=2**31)
    """Seed by which the files of `subset` are drawn."""

    balanced: bool = False
    """Whether each epoch has as many real as fake files: some of the rarer class are then seen
    several times."""

    repeats: int = Field(1, ge=1, le=8, exclude_if=partial(eq, 1))
    """How many draws of the augmentations of a sample are learned beside each other, in one batch
    where this divides `batch_size` (multi-crop, or repeated augmentation: Hoffer et al. 2020,
    arXiv:1901.09335; Berman et al. 2019, arXiv:1902.05509). An epoch has as many batches as with
    one, of so many times fewer samples."""
