"""Methods: how a trial gets from data to a model. To add a fitted head, see `AnyFit`."""

from abc import ABC, abstractmethod
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from workbench.parts.fitted_heads import LogisticHead, NoisyOrHead, TreesHead
from workbench.parts.heads import LINEAR, Head, LinearHead
from workbench.parts.two_labels import TwoLabelsHead
from workbench.values import Part


class Fit(Part, ABC):
    """A head that is fitted on features, with the settings of the fit."""

    @property
    @abstractmethod
    def head(self) -> LogisticHead | TreesHead | NoisyOrHead:
        """The head that it fits."""


class LogisticRegression(Fit):
    """A logistic regression of standardised features, fitted by L-BFGS until it converges."""

    kind: Literal["logistic"] = "logistic"
    c: float = Field(0.01, ge=1e-8, le=1e4)
    """Inverse strength of the L2 penalty on the weights (scikit-learn's `C`)."""

    even_views: bool = False
    """Whether the features of every view have the same variance together, so that the few of a
    vector count as much as the many of a backbone; else every feature has the same."""

    @property
    def head(self) -> LogisticHead:
        """A linear layer behind the standardisation."""
        return LogisticHead()


class GradientBoosting(Fit):
    """Gradient boosting of the log-loss by regression trees.

    Source: Friedman 2001, "Greedy function approximation", algorithm 5; and Friedman 2002,
    "Stochastic gradient boosting".
    """

    kind: Literal["boosting"] = "boosting"
    num_trees: int = Field(100, ge=1, le=2000)
    """Number of trees; each is fitted to what those before it leave unexplained."""

    depth: int = Field(3, ge=1, le=8)
    """Largest depth of a tree."""

    learning_rate: float = Field(0.1, gt=0, le=1)
    """Factor on the output of each tree (shrinkage)."""

    leaf_samples: int = Field(5, ge=1)
    """Fewest samples in a leaf."""

    feature_share: float = Field(0.3, gt=0, le=1)
    """Share of the features that are tried at a split, drawn anew for each split."""

    sample_share: float = Field(1.0, gt=0, le=1)
    """Share of the samples that a tree is fitted to, drawn anew for each tree."""

    @property
    def head(self) -> TreesHead:
        """The trees."""
        return TreesHead(num_trees=self.num_trees, depth=self.depth)


class NoisyOrRegression(Fit):
    """Two logistic regressions, one of the views of sound and one of the others, joined by "or".

    Columns `sound_fake` and `picture_fake` of the data's tables say what of a fake is fake: then
    neither learns from fakes that are real in what it sees. Of fakes of which that is not said, it
    is learned that at least one of both is fake. All views have features of the same variance
    together, 1.
    """

    kind: Literal["noisy-or"] = "noisy-or"
    sound_c: float = Field(1.0, ge=1e-8, le=1e4)
    """Inverse strength of the L2 penalty on the weights of what is heard."""

    picture_c: float = Field(0.3, ge=1e-8, le=1e4)
    """The same of what is seen."""

    @property
    def head(self) -> NoisyOrHead:
        """Both layers behind the standardisation."""
        return NoisyOrHead()


AnyFit = Annotated[
    LogisticRegression | GradientBoosting | NoisyOrRegression, Field(discriminator="kind")
]


class FineTuning(Part):
    """Training by gradients, as the other keys of a training spec say."""

    kind: Literal["fine-tune"] = "fine-tune"
    two_labels: bool = False
    """Whether it is learned apart, by a head each, if the sound is fake and if the picture is, each
    from the views of its own; a file is fake if either is. Columns `sound_fake` and `picture_fake`
    of the data's tables say which. Of fakes of which that is not said, it is learned that at least
    one of both is fake."""

    @property
    def head(self) -> LinearHead | TwoLabelsHead:
        """One linear layer, or one for each label."""
        return TwoLabelsHead() if self.two_labels else LINEAR


class FeatureProbe(Part):
    """A head fitted on features of frozen backbones and on vectors as they are.

    Training is one pass over the files and a fit: one epoch, without optimizer, schedule, loss or
    batches. Its features are kept, so that the next such trial takes seconds.
    """

    kind: Literal["probe"] = "probe"
    fit: AnyFit = LogisticRegression()
    """The head, with the settings of its fit."""

    copies: int = Field(0, ge=0, le=50)
    """Number of augmented copies of each training sample that the head is fitted on beside the
    sample. They are made as `augment` says, self-blends included, but without Mixup and CutMix."""

    @property
    def head(self) -> Head:
        """That of its fit."""
        return self.fit.head


def _from_word(value: Any) -> Any:
    return {"kind": value} if isinstance(value, str) else value


AnyMethod = Annotated[
    Annotated[FineTuning | FeatureProbe, Field(discriminator="kind")], BeforeValidator(_from_word)
]
"""How a trial is trained; a word alone stands for a method with its defaults."""


def is_probe(method: Any) -> bool:
    """Return whether a method, or what a file says of one, is a probe."""
    if isinstance(method, dict):
        return method.get("kind") == "probe"
    return isinstance(method, FeatureProbe) or method == "probe"
