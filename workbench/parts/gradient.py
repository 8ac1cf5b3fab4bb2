"""What is done to the gradient between a batch's loss and the optimizer's step."""

from pydantic import Field

from workbench.values import Frozen


class Gradient(Frozen):
    """How the gradient that the optimizer steps by is made; by default it is the batch's own."""

    clip_norm: float = Field(0.0, ge=0)
    """A gradient whose norm over all parameters is larger is scaled down to it (Pascanu et al.
    2013, arXiv:1211.5063); 0 leaves every gradient as it is."""

    sam_rho: float = Field(0.0, ge=0, le=1)
    """Sharpness-aware minimisation: the gradient is that at the weights moved uphill by this
    distance, which costs a second pass (Foret et al. 2021, arXiv:2010.01412); 0 is off."""
