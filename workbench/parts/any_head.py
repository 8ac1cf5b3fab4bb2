"""All heads. To add one: write its class, name it in `AnyHead`. A bundle has those of its model."""

from typing import Annotated

from pydantic import Field

from workbench.parts.fitted_heads import LogisticHead, NoisyOrHead, TreesHead
from workbench.parts.heads import LinearHead
from workbench.parts.two_labels import TwoLabelsHead

AnyHead = Annotated[
    LinearHead | LogisticHead | TreesHead | NoisyOrHead | TwoLabelsHead,
    Field(discriminator="kind"),
]
