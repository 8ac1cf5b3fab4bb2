"""What one trial computes. How it is run (device, workers, paths) is an argument, not a field."""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PrivateAttr, field_validator, model_validator

from workbench.parts.model import MediaModel
from workbench.parts.model_spec import ModelSpec
from workbench.parts.over_frames import MEAN
from workbench.parts.plugins import Plugin
from workbench.parts.weights import Loader
from workbench.trial.training_spec import TrainingSpec
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

LOWER_IS_BETTER: frozenset[MetricName] = frozenset({"log_loss", "fpr", "best_f1_fpr"})


def is_of(name: str, one: str) -> bool:
    """Return whether the slice `name` is `one`, or one of the family `one`."""
    return name == one or name.startswith(f"{one}.")


class Objective(Frozen):
    """The one number that a study improves: a metric, over slices of held-out data."""

    metric: MetricName = "auc"
    """`f1` to `accuracy` count a score of 0.5 or more as fake. `best_f1_*` are at the threshold of
    the best F1 on these same files, so they flatter. `tpr_at_fpr_1e-2` is the share of fakes found
    where one real in a hundred is taken for a fake."""

    over: Annotated[tuple[str, ...], Field(min_length=1)] = ("val",)
    """Slices, or families of slices such as `generators`, which stand for all slices of theirs."""

    aggregate: Literal["mean", "worst", "lowest-quartile"] = "mean"
    """How the metric's values on several slices become one: their mean, the worst of them, or the
    mean of the worst quarter of them, rounded up to whole slices."""

    @model_validator(mode="before")
    @classmethod
    def _of_one_slice(cls, tree: Any) -> Any:
        """Read the key `slice` too, which named the only slice."""
        if not isinstance(tree, dict) or "slice" not in tree or "over" in tree:
            return tree
        rest = {key: value for key, value in tree.items() if key != "slice"}
        return {**rest, "over": (tree["slice"],)}

    @field_validator("over")
    @classmethod
    def _each_once(cls, over: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(over)) < len(over):
            raise ValueError("names a slice twice")
        return over

    @property
    def direction(self) -> Literal["maximize", "minimize"]:
        """Which way is better."""
        return _direction(self.metric)

    @property
    def place(self) -> str:
        """What it is measured on, for a person: `val`, or `the worst of val, phone`."""
        names = ", ".join(self.over)
        if self.is_of_one():
            return names
        words = "worst quarter" if self.aggregate == "lowest-quartile" else self.aggregate
        return f"the {words} of {names}"

    @property
    def label(self) -> str:
        """The metric as a line or a column calls it: `auc`, or `worst auc` of several slices."""
        return self.metric if self.is_of_one() else f"{self.aggregate} {self.metric}"

    def is_of_one(self, scored: Iterable[str] = ()) -> bool:
        """Return whether it is measured on one slice, and not on a family of them.

        Args:
            scored: The names of the slices that were scored. They tell a labelled folder, whose
                one slice has its name, from a family, and of which families there is none; without
                them a folder passes for a family, and every family for one that is there.
        """
        first, *others = self.over
        if there := self.slices_among(scored):
            return there == (first,)  # of the others the data have none
        return (first == "val" or "." in first) and not others

    def has_standard_error(self, scored: Iterable[str] = ()) -> bool:
        """Return whether a standard error of it is known: that of an AUC on one slice.

        Args:
            scored: See `is_of_one`.
        """
        return self.metric == "auc" and self.is_of_one(scored)

    def slices_among(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return which slices of a data set it is measured on, each once.

        Args:
            names: Of all slices of the data, or of those that were scored. A family of which there
                is none was left out; see `scoring.slices.labelled_slices`.
        """
        there = tuple(names)
        wanted = (n for one in self.over for n in there if is_of(n, one))
        return tuple(dict.fromkeys(wanted))

    def among(self, scored: Iterable[str]) -> "Objective":
        """Return it as it is over these slices: without the families of which there is none.

        Args:
            scored: See `is_of_one`; with no slice of it, as for what was not scored, it stays.
        """
        there = tuple(scored)
        over = tuple(one for one in self.over if any(is_of(n, one) for n in there))
        return self.model_copy(update={"over": over}) if over and over != self.over else self

    def aggregated(
        self, by_slice: Mapping[str, Mapping[MetricName, float]]
    ) -> dict[MetricName, float]:
        """Return every metric over the objective's slices; `metric` of it is the objective.

        Args:
            by_slice: The metrics on each slice, by its name; on others, too.

        Raises:
            KeyError: none of them is one of the objective's.
        """
        names = self.slices_among(by_slice)
        if not names:
            raise KeyError(self.over[0])
        found: dict[MetricName, float] = {}
        for metric in by_slice[names[0]]:
            values = sorted(by_slice[name][metric] for name in names)
            worst_first = values if _direction(metric) == "maximize" else values[::-1]
            counted = {"mean": len(values), "worst": 1, "lowest-quartile": -(-len(values) // 4)}
            some = worst_first[: counted[self.aggregate]]
            found[metric] = math.fsum(some) / len(some)
        return found

    def is_better(self, value: float, other: float) -> bool:
        """Say whether `value` is strictly better than `other`."""
        return value < other if self.direction == "minimize" else value > other


def _direction(metric: MetricName) -> Literal["maximize", "minimize"]:
    return "minimize" if metric in LOWER_IS_BETTER else "maximize"


class Refit(Frozen):
    """That a recipe is trained on the files of `val`, too: a champion trained again at the end.

    Nothing is then held out to choose an epoch by, so the last one is kept, or the average that the
    recipe has of the weights by then. What its epochs are measured on was learned from, and shows
    that something is learned, not what it is worth.
    """

    of: str
    """The uid of the trial, or repeat of one, that is trained again."""

    history: tuple[float, ...] = ()
    """The objective after each epoch of that one, which a schedule by plateaus goes by again."""


class Recipe(Frozen):
    """Everything that can change a trial's numbers, and nothing that cannot."""

    format: Literal[2] = 2
    """Of the file; 1 had the keys of both specs side by side, and is read as well."""

    data: str
    """Fingerprint of labels and media."""

    plugins: tuple[Plugin, ...] = ()  # before the parts that they bring: those are known then

    model: ModelSpec
    training: TrainingSpec
    objective: Objective = Objective()
    """What names the best epoch."""

    seed: int = Field(0, ge=0, lt=2**31)
    refit: Refit | None = None

    _name: str = PrivateAttr("")

    @model_validator(mode="before")
    @classmethod
    def _of_format_1(cls, tree: Any) -> Any:
        """Sort the keys of format 1 into the two specs."""
        if not isinstance(tree, dict) or "format" in tree or "model" in tree:
            return tree
        own = {key: value for key, value in tree.items() if key not in _SPEC_OF}
        specs: dict[str, dict[str, Any]] = {"model": {}, "training": {}}
        for key in tree.keys() - own.keys():
            specs[_SPEC_OF[key]][key] = tree[key]
        return {**own, **specs}

    @model_validator(mode="after")
    def _fits_its_head(self) -> Self:
        if self.model.head != self.training.method.head:
            raise ValueError(
                f"the model's head is {self.model.head.kind}, and the training's method makes "
                f"one that is {self.training.method.head.kind}"
            )
        if self.model.head.is_fitted and self.model.over_frames != MEAN:
            raise ValueError(
                f"`over_frames` is {self.model.over_frames.kind}, and a head that is fitted reads "
                "the mean: leave it out"
            )
        return self

    def build_model(self, load: Loader | None = None) -> MediaModel:
        """Return the model in training mode; see `ModelSpec.build`."""
        for plugin in self.plugins:
            plugin.run()  # a recipe that was read since may have another version of the file
        model = self.model.build(load)
        self.training.transfer.skip_blocks(model, self.model.backbone_of)
        self.training.transfer.freeze(model, self.training.frozen)
        return model.train()

    @property
    def train_sides(self) -> list[int]:
        """The side of the pictures in training, in pixels, of each epoch."""
        spec = self.training
        return spec.train_size.sides(self.model.image_px, spec.num_epochs)

    @property
    def uid(self) -> str:
        """The name of the trial that computes this recipe: see `named`; else its fingerprint."""
        return self._name or self.fingerprint

    def named(self, name: str) -> Self:
        """Return this recipe with the name that its study gave to its trial.

        A later version of this program may have another fingerprint for the same recipe; what a
        study wrote when the trial began stays the trial's name.
        """
        copy = self.model_copy()
        copy._name = name
        return copy

    @property
    def fingerprint(self) -> str:
        """Twelve hex digits of its contents; equal for equal recipes, on every machine."""
        # The full dump: an unset field that gets another default must not keep its name. The
        # order of the views stays in it, since it orders the model's layers.
        dump = self.model_dump(mode="json")
        # Keys of later versions: left out where they say no more than what those before them knew.
        plain = {"kind": "linear"}, {"kind": "fine-tune", "two_labels": False}
        if (dump["model"]["head"], dump["training"]["method"]) == plain:
            del dump["model"]["head"], dump["training"]["method"]
        if dump["model"]["over_frames"] == MEAN.model_dump():
            del dump["model"]["over_frames"]
        if dump["model"]["picture_input"] == "rgb":
            del dump["model"]["picture_input"]
        transfer = dump["training"]["transfer"]
        told = ({"kind": "none"}, {"kind": "ema", "decay": transfer["ema_decay"]})
        if transfer["average"] in told:
            del transfer["average"]
        for key, unsaid in (("stochastic_depth", 0), ("scope", "all")):
            if transfer[key] == unsaid:
                del transfer[key]
        for key in ("contrast", "copies", "gradient", "train_size"):
            if getattr(self.training, key) == TrainingSpec.model_fields[key].default:
                del dump["training"][key]
        if not any(dump["training"]["augment"]["waveforms"].values()):
            del dump["training"]["augment"]["waveforms"]
        for key in ("refit", "plugins"):
            if not dump[key]:
                del dump[key]
        views = self.model.views.items()
        dump["model"]["views"] = [(name, view.identity()) for name, view in views]
        return hashlib.sha256(json.dumps(dump, sort_keys=True).encode()).hexdigest()[:12]

    def replaced(self, **changes: Any) -> Self:
        """Return this recipe with other values of some keys of it or of its specs."""
        own: dict[str, Any] = {key: changes[key] for key in changes.keys() - _SPEC_OF.keys()}
        for spec in ("model", "training"):
            those = {key: changes[key] for key in changes if _SPEC_OF.get(key) == spec}
            if those:
                own[spec] = getattr(self, spec).model_copy(update=those)
        changed = self.model_copy(update=own)
        changed._name = ""
        return changed

    def flat(self) -> dict[str, Any]:
        """Return all of it as JSON values, the keys of both specs side by side."""
        tree = self.model_dump(mode="json", exclude={"format", "plugins"})
        if self.refit is None:
            del tree["refit"]
        tree |= {f"plugin.{plugin.file}": plugin.sha256 for plugin in self.plugins}
        return {**tree.pop("model"), **tree.pop("training"), **tree}


_SPEC_OF = {
    **dict.fromkeys(ModelSpec.model_fields, "model"),
    **dict.fromkeys(TrainingSpec.model_fields, "training"),
}
"""The spec of each of their keys."""
