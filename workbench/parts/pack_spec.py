"""The model spec of a pack: several trained models in one module, judged as one model."""

from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from workbench.media.views import AnyView
from workbench.parts.joint import AnyJoint
from workbench.parts.model_spec import ModelSpec
from workbench.parts.pack import PackModel
from workbench.parts.weights import Loader
from workbench.values import Frozen


class PackSpec(Frozen):
    """Several models that each score a file, and the joint of their scores.

    Each member keeps its own backbones, image size and test-time augmentation. Views are decoded
    once for all: members that read a view of one name read the same view.
    """

    kind: Literal["pack"] = "pack"
    members: Annotated[tuple[ModelSpec, ...], Field(min_length=1)]
    joint: AnyJoint

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if len(self.joint.weights) != len(self.members):
            raise ValueError(
                f"the joint has {len(self.joint.weights)} weights for {len(self.members)} members"
            )
        views: dict[str, AnyView] = {}
        for member in self.members:
            for name, view in member.views.items():
                if views.setdefault(name, view) != view:
                    raise ValueError(f"two members read different views named {name!r}")
        return self

    @property
    def views(self) -> dict[str, AnyView]:
        """Every view that a member reads, each once."""
        return {name: view for member in self.members for name, view in member.views.items()}

    @property
    def backbone_names(self) -> list[str]:
        """The backbones, each once."""
        names = [name for member in self.members for name in member.backbone_names]
        return list(dict.fromkeys(names))

    @property
    def backbone_label(self) -> str:
        """The backbones in a few words."""
        return " + ".join(member.backbone_label for member in self.members)

    def build(self, load: Loader | None = None) -> PackModel:
        """Return the model; see `ModelSpec.build`."""
        return PackModel([member.build(load) for member in self.members], self.joint)


def members_of(spec: ModelSpec | PackSpec) -> tuple[ModelSpec, ...]:
    """Return the models that a spec is of: the members of a pack, or the one model."""
    return spec.members if isinstance(spec, PackSpec) else (spec,)


def with_views_told_apart(
    members: Sequence[ModelSpec],
) -> tuple[tuple[ModelSpec, ...], tuple[dict[str, str], ...]]:
    """Return the members with names of views that mean one view each, and the new names.

    Members of different studies may call different views alike. The first keeps its name, and a
    later one gets a number behind it.

    Returns:
        The members; and for each the new name of each of its views.
    """
    known: dict[str, AnyView] = {}
    renamed, names = [], []
    for member in members:
        new: dict[str, str] = {}
        for name, view in member.views.items():
            new[name] = _free_name(name, view, known, taken=new.values())
        renamed.append(_with_names(member, new))
        names.append(new)
    return tuple(renamed), tuple(names)


def _free_name(
    name: str, view: AnyView, known: dict[str, AnyView], *, taken: Collection[str]
) -> str:
    number, new = 1, name
    while new in taken or known.setdefault(new, view) != view:
        number += 1
        new = f"{name}_{number}"
    return new


def _with_names(member: ModelSpec, new: Mapping[str, str]) -> ModelSpec:
    if all(name == renamed for name, renamed in new.items()):
        return member
    changed: dict[str, Any] = {"views": {new[name]: view for name, view in member.views.items()}}
    for key in ("backbone", "weights"):
        if isinstance(setting := getattr(member, key), dict):
            changed[key] = {new[name]: value for name, value in setting.items()}
    return member.model_copy(update=changed)
