"""Which files a training learns from."""

from typing import Annotated

from pydantic import Field

from workbench.values import Frozen


class Sampling(Frozen):
    """Which training files are seen, and how often."""

    subset: Annotated[int, Field(ge=2)] | Annotated[float, Field(gt=0, le=1)] = 1.0
    """So many files, or this share of them, the share of fakes kept; the same at every epoch."""

    seed: int = Field(0, ge=0, lt=2**31)
    """Of the subset."""

    balanced: bool = False
    """As many real as fake files in each epoch: of the rarer class some are seen again."""
