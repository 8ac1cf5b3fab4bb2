"""What rules look at: all that is known of a model, before it is built or after."""

from collections.abc import Mapping
from dataclasses import dataclass

from workbench.parts.pretraining import LABELS
from workbench.values import Frozen


class Counts(Frozen):
    """The two counts of one model."""

    thop: int | None
    """What `thop.profile` returns. It matches layers by exact type, and so leaves out every weight
    that a layer of another type holds. None if thop cannot run the model at all."""

    true: int
    """The elements of all parameters, shared ones once, frozen ones too; and the numbers in buffers
    that the file of weights holds, which may be learned as well. What norms keep of the data that
    they saw is left out."""

    macs: int | None = None
    """Multiplications with an addition in one pass of one sample, as thop counts them; it leaves
    out what it does not know, as above."""

    in_buffers: int = 0
    """How many of the true ones lie in buffers."""

    made_by_code: int = 0
    """Numbers in buffers that the file of weights does not hold: the model's code makes them, such
    as masks and tables of positions. They are told and count nothing."""

    @property
    def larger(self) -> int:
        """The larger of the two; the true one if thop has none."""
        return self.true if self.thop is None else max(self.thop, self.true)


class StartWeights(Frozen):
    """The weights that a backbone starts from; random ones by default."""

    name: str = ""
    """timm's name and tag; the architecture alone if they have no tag."""

    label: str = "none"
    """What they saw: a key of `workbench.parts.pretraining.LABELS`."""

    why: str = ""
    """Why, if the tag alone does not show it."""

    @property
    def saw(self) -> str:
        """What they saw, in words."""
        return LABELS.get(self.label, self.label)


class HelperModel(Frozen):
    """A model that helps to make a view, trained by others before."""

    name: str
    source: str
    """Where its weights are: a package with its version, or a file with its hash."""

    saw: str
    """What its weights were trained on."""

    params: int | None
    """How many parameters it has; None if that cannot be told."""


@dataclass(frozen=True)
class Subject:
    """What is known of a model so far; None is what is not known yet."""

    starts: tuple[StartWeights, ...]
    """The weights that its backbones start from."""

    published: tuple[int, ...] | None = None
    """The parameters of each of its backbones, as timm publishes them."""

    counts: Counts | None = None
    """Of the built model."""

    counted_by: str = "thop"
    """The package that counted, with its version: forks of thop count differently."""

    networks: Mapping[str, int] | None = None
    """How many networks read each view, in the built model."""

    helpers: tuple[HelperModel, ...] | None = None
    """The trained models that help to make its views."""
