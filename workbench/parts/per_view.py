"""A setting of the views that go through a backbone: one value for all, or one for each by name."""

from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias, TypeVar

T = TypeVar("T")
U = TypeVar("U")

PerView: TypeAlias = T | Mapping[str, T]
"""One value for every view that goes through a backbone, or one for each, by the view's name."""


def for_each(setting: PerView[T], views: Iterable[str]) -> dict[str, T]:
    """Return the value of each of `views`."""
    return {view: setting[view] if isinstance(setting, Mapping) else setting for view in views}


def apply(function: Callable[[T], U], setting: PerView[T]) -> U | dict[str, U]:
    """Return what `function` makes of the one value, or of each."""
    if isinstance(setting, Mapping):
        return {view: function(value) for view, value in setting.items()}
    return function(setting)


def in_short(setting: Mapping[str, T]) -> T | dict[str, T]:
    """Return the one value that all views have, so that equal settings are written alike."""
    values = list(dict.fromkeys(setting.values()))
    return values[0] if len(values) == 1 else dict(setting)


def values_of(setting: PerView[T]) -> list[T]:
    """Return the values, each once."""
    values = setting.values() if isinstance(setting, Mapping) else [setting]
    return list(dict.fromkeys(values))


def label_of(backbone: PerView[str]) -> str:
    """Return backbones in a few words: `resnet18`, or `resnet18 mel + vit_tiny frames`."""
    if isinstance(backbone, str):
        return backbone
    return " + ".join(f"{name} {view}" for view, name in backbone.items()) or "no backbone"


def mismatch(setting: Mapping[str, object], views: Iterable[str]) -> str:
    """Return why a mapping does not fit the views that go through a backbone; empty if it does."""
    views = list(views)
    if lacking := [view for view in views if view not in setting]:
        return f"it lacks the view {', '.join(lacking)}"
    if unread := [name for name in setting if name not in views]:
        read = ", ".join(views)
        return f"it names {', '.join(unread)}, and the views that go through a backbone are {read}"
    return ""
