"""The competition's rules on models: each is one object, and a rulebook is a list of them.

Whatever judges a model walks `Rulebook.rules`: the ranking of published figures and a search space,
which know a backbone by its name; a trial, a promotion and a bundle, which have the built model. To
add a rule: its keys in `Rulebook`, its class, and its place in `Rulebook.rules`.
"""

import re
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Protocol

from pydantic import AfterValidator, BeforeValidator, Field

from workbench.parts.pretraining import LABELS
from workbench.rules.subject import Counts, HelperModel, StartWeights, Subject
from workbench.values import Frozen

_TOLD_SHARE = 0.01
"""Of the parameters: numbers that a model's code makes are told where they are more."""

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "B": 10**9}


def num_params(value: Any) -> Any:
    """Return a number of parameters written as `200M` or `1.5B`; anything but text as it is."""
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"\s*(\d[\d_]*(?:\.\d+)?)\s*([KMB]?)\s*", value, re.IGNORECASE)
    if not match:
        raise ValueError("write a number of parameters such as 200M, 1.5B or 200000000")
    return round(float(match[1].replace("_", "")) * _UNITS[match[2].upper()])


def known_labels(labels: tuple[str, ...]) -> tuple[str, ...]:
    """Return `labels` if all are known ones of pretraining; raise ValueError if not."""
    for label in labels:
        if label not in LABELS:
            raise ValueError(f"{label!r} is not known: write {', '.join(LABELS)}")
    return labels


def _meaning(value: Any) -> Any:
    """Return what `single_model` means where it is written as yes or no, as it was once."""
    return {True: "backbone", False: "any"}[value] if isinstance(value, bool) else value


Params = Annotated[int, BeforeValidator(num_params), Field(ge=1)]
PretrainingLabels = Annotated[tuple[str, ...], AfterValidator(known_labels)]
CountedBy = Literal["larger", "thop", "true"]
OnHelpers = Literal["allow", "count", "refuse"]
OneModel = Literal["backbone", "module"]


class RuleResult(Frozen):
    """What one rule says of one model."""

    name: str
    ok: bool | None
    """Whether the model obeys it; None if that cannot be told from what is known."""

    sentence: str
    """The model's value and the limit, as a clause about it."""

    over: int | None = None
    """How far a number is over its limit, 0 or less within it; None where nothing is counted."""

    cause: str = ""
    """By what many refusals are told apart, where they can be."""


class Rule(Protocol):
    """One rule on models."""

    @property
    def name(self) -> str:
        """What results and tables call it."""

    @property
    def refuses(self) -> str:
        """What it refuses, as it follows a number of models: `over 200M parameters`."""

    def check(self, subject: Subject) -> RuleResult:
        """Return what it says of a model."""


@dataclass(frozen=True)
class MaxParamsRule:
    """The whole model has at most so many parameters."""

    name: ClassVar[str] = "params"
    limit: int
    counter: CountedBy = "larger"
    with_helpers: bool = False

    @property
    def refuses(self) -> str:
        """What it refuses, as it follows a number of models."""
        return f"over {_millions(self.limit)} parameters"

    def check(self, subject: Subject) -> RuleResult:
        """Hold its count against the limit; before it is built, that of its published backbones."""
        if subject.counts is not None:
            counted, how = self._of_model(subject.counts, subject.counted_by)
            how += self._of_buffers(subject.counts)
        elif subject.published is not None:
            many = len(subject.published)
            counted = sum(subject.published)
            how = f" in {many} backbones as published" if many > 1 else " as published"
        else:
            sentence = "it is not built yet, so its parameters are not counted"
            return RuleResult(name=self.name, ok=None, sentence=sentence)
        helpers = (subject.helpers or ()) if self.with_helpers else ()
        if helpers:
            counted += sum(helper.params or 0 for helper in helpers)
            how += f", those of {_names(helpers)} included"
        over = counted - self.limit
        sentence = (
            f"it has {_millions(counted)} parameters{how}, "
            f"{'over' if over > 0 else 'within'} the limit of {_millions(self.limit)}"
        )
        unknown = tuple(helper for helper in helpers if helper.params is None)
        if unknown:
            sentence += f", but how many {_names(unknown)} has is not known"
        ok = over <= 0 and not unknown
        return RuleResult(name=self.name, ok=ok, sentence=sentence, over=over)

    def _of_buffers(self, counts: Counts) -> str:
        """Return what is told of numbers that are no parameters; little ones are filters."""
        told = ""
        if counts.in_buffers:
            by_thop = self.counter == "thop" and counts.thop is not None
            does = "not counted" if by_thop else "counted"
            told = f", {_millions(counts.in_buffers)} numbers in stored buffers {does}"
        if counts.made_by_code > _TOLD_SHARE * counts.true:
            told += f", {_millions(counts.made_by_code)} in buffers that its code makes not counted"
        return told

    def _of_model(self, counts: Counts, tool: str) -> tuple[int, str]:
        if counts.thop is None:
            return counts.true, f" ({tool} cannot run it, so the true count decides)"
        counted = {"true": counts.true, "thop": counts.thop}.get(self.counter, counts.larger)
        if _millions(counts.thop) == _millions(counts.true):
            return counted, f" ({tool} counts as many)"
        if self.counter == "thop":
            return counted, f" as {tool} counts them ({_millions(counts.true)} truly)"
        few = "only " if counts.thop < counts.true else ""
        rest = ", the larger decides" if self.counter == "larger" else ""
        return counted, f" ({tool} counts {few}{_millions(counts.thop)}{rest})"


@dataclass(frozen=True)
class PretrainingRule:
    """What the weights that a model starts from may have seen; random weights always may."""

    name: ClassVar[str] = "pretraining"
    refuses: ClassVar[str] = "for what their weights saw"
    allowed: tuple[str, ...]
    by_name: tuple[str, ...] = ()

    def check(self, subject: Subject) -> RuleResult:
        """Look at the weights of every backbone; of several, tell those that are refused."""
        starts = tuple(dict.fromkeys(subject.starts))
        wrong = [start for start in starts if not (self._allows(start) or self._names(start))]
        return RuleResult(
            name=self.name,
            ok=not wrong,
            sentence=", and ".join(map(self._said, wrong or starts)),
            cause=wrong[0].saw if wrong else "",
        )

    def _allows(self, start: StartWeights) -> bool:
        return start.label == "none" or start.label in self.allowed

    def _names(self, start: StartWeights) -> bool:
        named = {start.name, start.name.partition(".")[2]} - {""}
        return bool(named & set(self.by_name))

    def _said(self, start: StartWeights) -> str:
        if start.label == "none":
            return "it starts from random weights"
        why = f", since {start.why}" if start.why else ""
        said = f"its weights ({start.name}) saw {start.saw}{why}"
        if self._allows(start):
            return said
        if self._names(start):
            return f"{said}, which the rulebook allows by name"
        labels = " or ".join(LABELS[label] for label in self.allowed)
        said += f", where the rulebook allows {f'only {labels}' if labels else 'no pretraining'}"
        tag = start.name.partition(".")[2]
        hint = start.label == "unknown" and tag
        return f"{said}; `allowed_tags: [{tag}]` would allow it by name" if hint else said


@dataclass(frozen=True)
class SingleModelRule:
    """One model makes every prediction.

    What one model is, competitions see differently. By `backbone`, it has one network for each
    view that it reads. By `module`, it may hold several, as long as they are one module with one
    file of weights and are counted together.
    """

    name: ClassVar[str] = "single_model"
    meaning: OneModel = "backbone"

    @property
    def refuses(self) -> str:
        """What it refuses, as it follows a number of models."""
        return "of several networks for one view" if self.meaning == "backbone" else "in parts"

    def check(self, subject: Subject) -> RuleResult:
        """Count the networks of the built model that read the same view."""
        if subject.networks is None:
            sentence = "it is not built yet, so its networks are not counted"
            return RuleResult(name=self.name, ok=None, sentence=sentence)
        view, most = max(subject.networks.items(), key=lambda item: item[1], default=("", 0))
        if most <= 1:
            sentence = "one network reads each view, as the rulebook asks"
            return RuleResult(name=self.name, ok=True, sentence=sentence, over=most - 1)
        if self.meaning == "module":
            sentence = f"its networks ({most} read {view}) are one module, as the rulebook asks"
            return RuleResult(name=self.name, ok=True, sentence=sentence, over=0)
        sentence = f"{most} networks read {view}, where the rulebook allows one for each view"
        return RuleResult(name=self.name, ok=False, sentence=sentence, over=most - 1)


@dataclass(frozen=True)
class HelpersRule:
    """Whether trained models may help to make the views, and whether they count."""

    name: ClassVar[str] = "helpers"
    refuses: ClassVar[str] = "for models that help to make their views"
    policy: OnHelpers

    def check(self, subject: Subject) -> RuleResult:
        """Name each helper with its weights and what they saw."""
        if subject.helpers is None:
            sentence = "the models that help to make its views are not known yet"
            return RuleResult(name=self.name, ok=None, sentence=sentence)
        if not subject.helpers:
            sentence = "its views are made without other models"
            return RuleResult(name=self.name, ok=True, sentence=sentence)
        named = " and ".join(
            f"{helper.name} ({helper.source}; it saw {helper.saw})" for helper in subject.helpers
        )
        does = {"allow": "allows and does not count", "count": "counts", "refuse": "refuses"}
        return RuleResult(
            name=self.name,
            ok=self.policy != "refuse",
            sentence=f"its views are made with {named}, which the rulebook {does[self.policy]}",
            cause=_names(subject.helpers) if self.policy == "refuse" else "",
        )


class Verdict(Frozen):
    """What a rulebook says of one built model, with the numbers behind it."""

    legal: bool
    backbone: str
    params_thop: int | None
    """None if thop cannot run the model; then the true count decides."""

    params_true: int
    params_counted: int
    """The count that the rulebook holds against its limit."""

    over_limit: int
    """`params_counted` less the limit: 0 or less is within it."""

    counted_by: str
    """The package of thop and its version: forks of it count differently."""

    pretraining: str
    helpers: tuple[HelperModel, ...]
    macs: int | None = None
    """Of one sample; see `Counts.macs`."""

    results: tuple[RuleResult, ...]
    """Of each rule, in the rulebook's order."""

    sentence: str

    def breaks(self, rule: str) -> bool:
        """Return whether the model breaks the rule of that name."""
        return any(result.name == rule and result.ok is False for result in self.results)


class Rulebook(Frozen):
    """The rules that a model must obey to be submitted."""

    max_params: Params = 200_000_000
    """The most parameters the whole model may have. YAML may say `200M` or `1.5B`."""

    counter: CountedBy = "larger"
    """Which count must stay within the limit. thop counts too few for many models, so the larger of
    both is the default; `thop` is the letter of a rule that names that tool."""

    pretraining: PretrainingLabels = ("in1k",)
    """What the weights that a model starts from may have seen; random weights always may."""

    allowed_tags: tuple[str, ...] = ()
    """Weights allowed by name whatever they saw: `resnet50.bamboo`, or `bamboo` for every model."""

    single_model: Annotated[OneModel | Literal["any"], BeforeValidator(_meaning)] = "module"
    """What "one single model" means: with one network for each view (`backbone`, also written
    `true`), or one module with one file of weights, counted whole (`module`), which a pack of
    several networks is; under `any` (also `false`) there is no such rule. `module` is how the image
    track of 2024 was judged: its first was seven backbones in one module of 188M parameters."""

    helpers: OnHelpers = "allow"
    """How trained models that help to make views, such as a face detector, are judged: allowed and
    not counted (`allow`), counted among the parameters (`count`), or not allowed (`refuse`)."""

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules, in the order in which a verdict tells them."""
        rules: list[Rule] = [
            MaxParamsRule(self.max_params, self.counter, self.helpers == "count"),
            PretrainingRule(self.pretraining, self.allowed_tags),
        ]
        if self.single_model != "any":
            rules.append(SingleModelRule(self.single_model))
        rules.append(HelpersRule(self.helpers))
        return tuple(rules)


def _millions(number: int) -> str:
    """Return a number of parameters as people say it: `11.2M`."""
    if number < 100_000:
        return f"{number:,}"
    return f"{number / 1e6:.1f}".removesuffix(".0" if number % 10**6 == 0 else "!") + "M"


def _names(helpers: tuple[HelperModel, ...]) -> str:
    return " and ".join(helper.name for helper in helpers)
