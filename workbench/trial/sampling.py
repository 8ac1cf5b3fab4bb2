"""Which files a training learns from."""

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
