"""What one trial computes. How it is run (device, workers, paths) is an argument, not a field."""

import hashlib
import json
from typing import Annotated, Literal

from pydantic import Field

from workbench.media.views import AnyView
from workbench.parts.augment import Augment
from workbench.parts.losses import AnyLoss, CrossEntropy
from workbench.parts.optimizers import AnyOptimizer
from workbench.parts.schedules import AnySchedule, Constant
from workbench.parts.transfer import Transfer
from workbench.parts.weights import Weights
from workbench.values import Frozen

MetricName = Literal[
    "auc",
    "log_loss",
    "f1",
    "precision",
    "recall",
    "tpr",
    "fpr",
    "accuracy",
    "best_f1",
    "best_f1_threshold",
    "best_f1_accuracy",
    "best_f1_precision",
    "best_f1_recall",
    "best_f1_fpr",
    "tpr_at_fpr_1e-2",
    "tpr_at_fpr_1e-3",
]
"""`f1` to `accuracy` count a score of 0.5 or more as fake; `best_f1_*` use the threshold with the
best F1 on these same samples, so they flatter a little."""

LOWER_IS_BETTER: frozenset[MetricName] = frozenset({"log_loss", "fpr"})


TTA = Literal["none", "hflip", "six"]
"""Of pictures: as they are; also their mirror images; also two centre crops (0.9 and 0.8 of a side)
and the mirror images of those. Spectrograms and vectors stay as they are."""


Precision = Literal["float32", "bfloat16"]
"""Of the model's pass in training; see `precision`."""


class Sampling(Frozen):
    """Which training files are seen, and how often."""

    subset: Annotated[int, Field(ge=2)] | Annotated[float, Field(gt=0, le=1)] = 1.0
    """So many files, or this share of them, the share of fakes kept; the same at every epoch."""

    seed: int = Field(0, ge=0, lt=2**31)
    """Of the subset."""

    balanced: bool = False
    """As many real as fake files in each epoch: of the rarer class some are seen again."""


class Objective(Frozen):
    """The one number that a study improves: a metric on a slice of held-out data."""

    metric: MetricName = "auc"
    slice: Literal["val"] = "val"

    @property
    def direction(self) -> Literal["maximize", "minimize"]:
        """Which way is better."""
        return "minimize" if self.metric in LOWER_IS_BETTER else "maximize"

    def is_better(self, value: float, other: float) -> bool:
        """Say whether `value` is strictly better than `other`."""
        return value < other if self.direction == "minimize" else value > other


class Choices(Frozen):
    """What of a recipe a search space may choose, besides its views and weights."""

    backbone: str
    """A timm model name, with or without a pretrained tag."""

    frozen: bool = False
    """Whether the backbone stays as it is and only the head learns."""

    transfer: Transfer = Transfer()
    sampling: Sampling = Sampling()
    image_px: int = Field(224, ge=32, le=1024)
    """Side of the square picture that the backbone sees, in pixels."""

    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of the pooled features dropped before the head."""

    loss: AnyLoss = CrossEntropy()
    optimizer: AnyOptimizer
    schedule: AnySchedule = Constant()
    augment: Augment = Augment()
    batch_size: int = Field(32, ge=1, le=4096)
    num_epochs: int = Field(5, ge=1, le=1000)
    tta: TTA = "none"
    """Test-time augmentation: what is scored of each file, everywhere; see `scoring`."""


class Recipe(Choices):
    """Everything that can change a trial's numbers, and nothing that cannot."""

    data: str
    """Fingerprint of labels and media."""

    views: dict[str, AnyView] = Field(min_length=1)
    """What the model reads: one backbone for each."""

    weights: Weights
    """The pretrained weights it starts from, as they were found."""

    objective: Objective = Objective()
    """What names the best epoch."""

    precision: Precision = "float32"
    """What training computes in. Scores are float32 either way."""

    seed: int = Field(0, ge=0, lt=2**31)

    @property
    def uid(self) -> str:
        """Twelve hex digits naming this recipe; equal for equal recipes, on every machine."""
        # The full dump: an unset field that gets another default must not keep its name. The
        # order of the views stays in it, since it orders the model's layers.
        dump = self.model_dump(mode="json")
        dump["views"] = [(name, view.identity()) for name, view in self.views.items()]
        return hashlib.sha256(json.dumps(dump, sort_keys=True).encode()).hexdigest()[:12]
