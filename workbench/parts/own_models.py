"""The models that this program adds to those of timm.

Each stands in a module that its name begins with: a bundle carries that of its backbone alone.
"""

import workbench.parts.aasist
import workbench.parts.alexnet
import workbench.parts.raw_resnet  # noqa: F401 (each registers its models with timm)
