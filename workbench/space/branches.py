"""Branches of a search space: the keys that each method reads, and what they can be.

A space may offer several methods: `method: {choice: [fine-tune, {kind: probe, ...}]}`. What a
method does not read is not drawn for it. An option may also hold keys of the space, which stand
in the place of the space's own for that method: `{kind: probe, views: {choice: [...]}}`.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from workbench.errors import ConfigError
from workbench.parts.methods import FeatureProbe, FineTuning, is_probe
from workbench.space.language import Suggest, in_words, labelled_options
from workbench.trial.training_spec import TrainingSpec
from workbench.validation import shown

METHOD = "method"

_OF_METHODS = FineTuning.model_fields.keys() | FeatureProbe.model_fields.keys()


_UNREAD = TrainingSpec.model_fields.keys() - TrainingSpec.READ_BY_PROBE | {"dropout", "over_frames"}
"""By a probe."""


class Node(NamedTuple):
    """What the space says of one key."""

    name: str
    """Its dotted name, which is that of its dimension."""

    tree: Any


class Branch(NamedTuple):
    """The keys of a space that one method reads."""

    label: str | None
    """Of the option; None where the space has one method."""

    nodes: dict[str, Node]
    """By key."""

    def drawn_label(self) -> dict[str, Any]:
        """Return what has to be drawn to come here."""
        return {} if self.label is None else {METHOD: self.label}


def branches(tree: dict[Any, Any], where: str) -> list[Branch]:
    """Return the branches of a space's tree, one for each method that can be drawn.

    Raises:
        ConfigError: a method is none. `where` names the file.
    """
    options = labelled_options(tree.get(METHOD, FineTuning().kind), METHOD, where)
    if options is None:
        return [_branch(tree, None, tree.get(METHOD), where)]
    return [_branch(tree, label, option, where) for label, option in options.items()]


def drawn_branch(tree: dict[Any, Any], trial: Suggest, where: str) -> Branch:
    """Return the branch that `trial` draws."""
    there = branches(tree, where)
    if there[0].label is None:
        return there[0]
    label = trial.suggest_categorical(METHOD, [branch.label for branch in there])
    return next(branch for branch in there if branch.label == label)


def nodes_of(tree: dict[Any, Any], key: str, where: str, default: Any = None) -> Iterator[Node]:
    """Yield what the branches say of a key, each once; `default` where one says nothing."""
    seen = []
    for branch in branches(tree, where):
        node = branch.nodes.get(key, Node(key, default))
        if node not in seen:
            seen.append(node)
            yield node


def _branch(tree: dict[Any, Any], label: Any, option: Any, where: str) -> Branch:
    prefix = METHOD if label is None else f"{METHOD}.{label}"
    settings = option if isinstance(option, dict) else {}
    kind = settings.get("kind", option) if settings else option
    if option is not None and not isinstance(kind, str):
        raise ConfigError(
            f"{where}: `{METHOD}` is {shown(option)}. Name a method or give its `kind`: "
            f"{FineTuning().kind} or {FeatureProbe().kind}."
        )
    own = {key: value for key, value in settings.items() if key not in _OF_METHODS}
    rest = {key: value for key, value in settings.items() if key in _OF_METHODS}
    # Where there is one method, the augmentation of its copies is that of the file.
    changes_copies = label is None and bool(settings.get("copies"))
    nodes = {
        key: Node(str(key), value)
        for key, value in tree.items()
        if key != METHOD and (_is_read(key, kind) or (key == "augment" and changes_copies))
    }
    if unread := [key for key in own if is_probe(kind) and key in _UNREAD]:
        raise ConfigError(
            f"{where}: `{prefix}` has the keys {in_words(unread)}, which a probe does not read. "
            "Remove them."
        )
    nodes |= {key: Node(f"{prefix}.{key}", value) for key, value in own.items()}
    if option is not None:
        nodes[METHOD] = Node(prefix, rest or option)
    return Branch(label, nodes)


def _is_read(key: Any, kind: Any) -> bool:
    """Return whether a method reads a key of the space itself.

    Augmentation is for the training by gradients; a probe says its own beside its copies.
    """
    return not is_probe(kind) or key not in _UNREAD | {"augment"}


def as_written(key: str, tree: Any) -> Any:
    """Return a node as a draft has it, which writes a method out."""
    return {"kind": tree} if key == METHOD and isinstance(tree, str) else tree
