"""The models that this program adds to timm's, each in a module that its name begins with."""

import workbench.parts.aasist
import workbench.parts.alexnet
import workbench.parts.lcnn
import workbench.parts.raw_resnet  # noqa: F401 (each registers its models with timm)
