"""The training spec: all that is needed to train a model, and nothing that scoring needs."""

from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from workbench.parts.augment import Augment
from workbench.parts.contrast import Contrast
from workbench.parts.copies import Copies
from workbench.parts.gradient import Gradient
from workbench.parts.losses import AnyLoss, CrossEntropy
from workbench.parts.methods import AnyMethod, FeatureProbe, FineTuning, is_probe
from workbench.parts.optimizers import NoOptimizer, OptimizerOrNone
from workbench.parts.schedules import AnySchedule, Constant
from workbench.parts.train_size import TrainSize
from workbench.parts.transfer import Transfer
from workbench.trial.sampling import Sampling
from workbench.values import Frozen

Precision = Literal["float32", "bfloat16"]
"""Of the model's pass in training; see `precision`."""


class TrainingSpec(Frozen):
    """All that is needed to train a model."""

    READ_BY_PROBE: ClassVar[frozenset[str]] = frozenset({"method", "sampling", "augment"})
    """The keys that a probe reads; of it the others have one value each, whatever was given."""

    method: AnyMethod = FineTuning()
    """Whether the model is trained by gradients (`fine-tune`), or only a head is fitted on the
    features of its frozen backbones (`probe`)."""

    frozen: bool = False
    """Whether the backbone stays as it is and only the head learns."""

    transfer: Transfer = Transfer()
    train_size: TrainSize = TrainSize()
    """How large pictures are in training, against `image_px`, in which they are scored."""

    sampling: Sampling = Sampling()
    copies: Copies = Copies()
    loss: AnyLoss = CrossEntropy()
    """The loss that training minimises."""

    contrast: Contrast = Contrast()
    """A loss of the features that is added to it."""

    gradient: Gradient = Gradient()
    optimizer: OptimizerOrNone
    """The optimizer, with its base learning rate; `none` where a head is fitted without steps."""

    schedule: AnySchedule = Constant()
    """How the learning rate changes during training."""

    augment: Augment = Augment()
    batch_size: int = Field(32, ge=1, le=4096)
    """Samples of one step of the optimizer."""

    num_epochs: int = Field(5, ge=1, le=1000)
    """Most passes over the training files; pruning may end a trial earlier."""

    precision: Precision = "float32"
    """What training computes in. Scores are float32 either way."""

    @property
    def probe(self) -> FeatureProbe | None:
        """The method, if it is a probe."""
        return self.method if isinstance(self.method, FeatureProbe) else None

    @property
    def most_of_a_sample(self) -> int:
        """How many samples of a batch one sample may become: blends join it."""
        return 2 ** ((self.augment.pictures.self_blend > 0) + (self.copies.blend > 0))

    @model_validator(mode="before")
    @classmethod
    def _without_steps(cls, tree: Any) -> Any:
        """Let a probe have no optimizer, and any other training need one."""
        if isinstance(tree, dict) and is_probe(tree.get("method")):
            return {**tree, "optimizer": NoOptimizer()}
        return tree

    @model_validator(mode="after")
    def _as_its_method_reads_it(self) -> Self:
        """Settle what a probe does not read: equal recipes must be written alike."""
        if self.probe is None:
            if isinstance(self.optimizer, NoOptimizer):
                raise ValueError("`optimizer` is none, and a model that is trained needs one")
            return self
        settled = {"frozen": True, "optimizer": NoOptimizer(), "num_epochs": 1}
        settled |= {} if self.probe.copies else {"augment": Augment()}
        for name, field in TrainingSpec.model_fields.items():
            if name in settled or name not in self.READ_BY_PROBE:
                object.__setattr__(self, name, settled.get(name, field.default))
        return self
