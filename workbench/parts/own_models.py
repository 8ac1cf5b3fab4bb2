"""The models that this program adds to those of timm, each in a module of its name."""

import workbench.parts.alexnet  # noqa: F401 (it registers itself with timm)
