"""The records in a bundle, held against each other: people read them, and no program goes by them.

Nothing of the bundle runs for that. A plugin runs when it is read as one, so a recipe that has some
is compared as it is written.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, RootModel, model_validator
from safetensors import SafetensorError, safe_open

from workbench.errors import BundleError
from workbench.files import read_json
from workbench.parts.model_spec import ModelSpec
from workbench.parts.pack_spec import PackSpec
from workbench.selection.champion import Champion
from workbench.selection.refit import carried_over
from workbench.study.packs import PACK_FILE, member_name, title_within
from workbench.study.refits import RefitRecord
from workbench.study.soups import Ingredient, Soup
from workbench.submission.contents import Contents
from workbench.submission.places import MANIFEST, MODEL, WEIGHTS
from workbench.submission.training_record import RECORD
from workbench.trial.recipe import Objective, Recipe, Refit
from workbench.validation import shown

_CHAMPION, _RECIPE, REFIT = "champion.json", "recipe.json", "refit.json"

V = TypeVar("V", bound=BaseModel)


class _Some(BaseModel):
    """Those keys of a record that are held against others."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class _OfRecipe(_Some):
    model: ModelSpec
    objective: Objective = Objective()
    refit: Refit | None = None


class _Recipe(RootModel[dict[str, Any]]):
    """A recipe as this version writes it; one with plugins as it is."""

    @model_validator(mode="before")
    @classmethod
    def _as_written(cls, tree: Any) -> Any:
        if isinstance(tree, dict) and tree.get("plugins"):
            _OfRecipe.model_validate(tree)
            return tree
        return Recipe.model_validate(tree).model_dump(mode="json")

    @property
    def told(self) -> _OfRecipe:
        """What is held against other records by itself."""
        return _OfRecipe.model_validate(self.root)


class _Training(_Some):
    title: str
    study: str
    uid: str
    value: float | None
    recipe: _Recipe
    weights_sha256: str = ""


class _Trainings(_Some):
    recipe: str
    models: tuple[_Training, ...] = Field(min_length=1)
    soups: tuple[Soup, ...] = ()
    members: tuple[tuple[str, str], ...] = ()
    repeats: tuple[_Training, ...] = ()
    pack: PackSpec | None = None

    @property
    def first(self) -> _Training:
        """Of the model; of a soup, that of its best trial, whose recipe the soup has."""
        uid = self.soups[0].ingredients[0].recipe if self.soups else ""
        return next((one for one in self.models if one.uid == uid), self.models[0])


class _Member(_Some):
    study: str
    number: int
    recipe: str
    soup: tuple[int, ...] = ()
    objective: float
    weights_sha256: str = ""


class _Pack(_Some):
    spec: PackSpec
    members: tuple[_Member, ...]
    objective: Objective


_Fact = tuple[str, str, Any, str, Any]
"""A record and what it tells, in words, with the value there; another record, and its value."""


def disagreements(bundle: Path, contents: Contents) -> tuple[list[str], list[str]]:
    """Return the records that tell of a bundle's model, and in what they disagree, in clauses.

    Not looked at is what stands in one of them alone: what the champion is expected to be on new
    data, how far it is ahead, why it was chosen, by whom and when.

    Args:
        bundle: The bundle's folder.
        contents: Its manifest.

    Raises:
        BundleError: one of the records is gone or cannot be read.
    """
    names = [MANIFEST]

    def read(kind: type[V], name: str) -> V | None:
        if name not in contents.files:
            return None
        names.append(name)
        return _read(kind, bundle / name)

    model = read(RootModel[PackSpec | ModelSpec], MODEL)
    recipe, pack = read(_Recipe, _RECIPE), read(_Pack, PACK_FILE)
    champion, refit = read(Champion, _CHAMPION), read(RefitRecord, REFIT)
    record = _read(_Trainings, bundle / RECORD) if RECORD in contents.files else None
    if champion is None or (pack or recipe) is None:
        lost = _CHAMPION if champion is None else _RECIPE
        raise BundleError(f"{bundle} has no {lost}. Export the bundle again.")

    told = pack.spec if pack else recipe.told.model if recipe else None
    known = told if record is None else record.pack or record.first.recipe.told.model
    uid = record.recipe if record else contents.recipe
    others = {
        MANIFEST: contents.recipe != uid,
        MODEL: model is not None and _text(model.root) != _text(known),
        PACK_FILE: pack is not None and _text(told) != _text(known),
        _RECIPE: recipe is not None
        and record is not None
        and not _says(recipe.root, record.first.recipe.root),
    }
    main = f"{RECORD} trains" if record else f"{PACK_FILE if pack else _RECIPE} tells"
    wrong = [name for name, is_other in others.items() if is_other]
    faults = [f"{' and '.join(wrong)} not of the model that {main}"] if wrong else []
    facts = [*_of_bundle(contents, champion, refit, uid, _uid_in(bundle / WEIGHTS))]
    if pack and not refit:
        facts += _of_pack(pack, champion)
    if record:
        facts += _of_trainings(record, champion, pack, refit)
    faults += [
        f"{one} has {shown(here)} as the {what}, and {other} has {shown(there)}"
        for one, what, here, other, there in facts
        if here != there
    ]
    return names, faults


def read_champion_of(bundle: Path) -> Champion:
    """Return the champion that a bundle is of.

    Raises:
        BundleError: its record cannot be read.
    """
    return _read(Champion, bundle / _CHAMPION)


def _of_bundle(
    contents: Contents, champion: Champion, refit: RefitRecord | None, uid: str, in_weights: str
) -> Iterator[_Fact]:
    """Yield which model it is, and what is told of it in place of the champion."""
    yield WEIGHTS, "recipe", in_weights, MANIFEST, uid
    yield _CHAMPION, "study", champion.study, MANIFEST, contents.study
    yield _CHAMPION, "number", champion.number, MANIFEST, contents.trial
    yield _CHAMPION, "kind", champion.is_soup, MANIFEST, contents.is_soup
    if refit is None:
        yield _CHAMPION, "recipe", champion.recipe, MANIFEST, uid
        return
    yield REFIT, "recipe", refit.recipe, MANIFEST, uid
    for key, value in carried_over(champion).items():
        yield REFIT, key, getattr(refit, key), _CHAMPION, value


def _of_pack(pack: _Pack, champion: Champion) -> Iterator[_Fact]:
    """Yield what a pack joins."""
    names = tuple(
        member_name(one.study, one.number, one.recipe, one.soup, of=champion.study)
        for one in pack.members
    )
    yield _CHAMPION, "members", champion.members, PACK_FILE, names
    yield _CHAMPION, "objective", champion.objective, PACK_FILE, _as_scored(pack, champion)


def _as_scored(record: _Pack | _OfRecipe, champion: Champion) -> Objective:
    """Return a record's objective without the families that the champion's leaves out.

    A recipe names those, too, of which the data have no slice.
    """
    return record.objective.among(champion.objective.over)


def _of_trainings(
    record: _Trainings, champion: Champion, pack: _Pack | None, refit: RefitRecord | None
) -> Iterator[_Fact]:
    """Yield which trainings it comes from, and what each came to."""
    soups = {soup.recipe: soup for soup in record.soups}
    told: list[tuple[str, str, str, str, float | None, str]] = []
    if refit:
        yield from _of_refit(record, champion, refit)
        told += [
            (REFIT, one.study, one.recipe, f"refit of trial {one.number}", None, "")
            for one in refit.models
        ]
    elif pack:
        told += [
            (PACK_FILE, each.study, each.recipe, *_of_trial(each))
            for each in pack.members
            if not each.soup
        ]
        for one in pack.members:
            if one.soup:
                numbers = soups[one.recipe].numbers if one.recipe in soups else []
                title = title_within(f"soup {one.recipe}", one.study, of=champion.study)
                yield PACK_FILE, f"trials of {title}", [*one.soup], RECORD, numbers
    else:
        objective = _as_scored(record.first.recipe.told, champion)
        yield _CHAMPION, "objective", champion.objective, RECORD, objective
        if champion.is_soup and champion.recipe in soups:
            soup = soups[champion.recipe]
            yield _CHAMPION, "members", champion.members, RECORD, tuple(map(str, soup.numbers))
            yield _CHAMPION, "choice of them", champion.soup, RECORD, soup.chosen
        elif not champion.is_soup:
            title = f"repeat of {champion.title}" if champion.repeats else champion.title
            told.append((_CHAMPION, champion.study, champion.recipe, title, champion.value, ""))
    for study, uid in record.members:
        told += [
            (RECORD, study, part.recipe, *_of_trial(part))
            for part in (soups[uid].ingredients if uid in soups else ())
        ]
    if pack:
        members = [uid for _, uid in record.members] or [one.uid for one in record.models]
        yield PACK_FILE, "members", [one.recipe for one in pack.members], RECORD, members
    trained = {(one.study, one.uid): one for one in record.models}
    for name, study, uid, title, value, weights in told:
        training = trained.get((study, uid))
        yield name, f"title of {uid}", title, RECORD, training.title if training else None
        whole = title_within(title, study, of=champion.study)
        if training and value is not None:
            yield name, f"value of {whole}", value, RECORD, training.value
        if training and weights and training.weights_sha256:  # older versions noted none
            yield name, f"weights of {whole}", weights, RECORD, training.weights_sha256
    if record.repeats:
        values = {one.value for one in (*record.models, *record.repeats)}
        for value in champion.repeats:
            yield _CHAMPION, "value of a repeat", value, RECORD, value if value in values else None


def _of_trial(one: _Member | Ingredient) -> tuple[str, float, str]:
    """Return the title of a trial in a pack or a soup, its value, and what its weights were."""
    return f"trial {one.number}", one.objective, one.weights_sha256


def _of_refit(record: _Trainings, champion: Champion, refit: RefitRecord) -> Iterator[_Fact]:
    """Yield whose refits they are, and what is told of the trials."""
    names = tuple(
        member_name(one.study, one.number, one.of, (), of=champion.study) for one in refit.models
    )
    numbers = (str(champion.number),) if champion.number is not None else champion.members
    yield REFIT, "trials", names, _CHAMPION, numbers
    for one, training in zip(refit.models, record.models, strict=False):
        about = training.recipe.told.refit
        yield REFIT, f"origin of {one.recipe}", one.of, RECORD, about.of if about else None
        if about and about.history:
            best = (min if refit.objective.direction == "minimize" else max)(about.history)
            title = title_within(f"trial {one.number}", one.study, of=champion.study)
            yield REFIT, f"value of {title}", one.objective, RECORD, best
            last = f"last epoch of {title}"
            yield REFIT, last, one.at_last_epoch, RECORD, about.history[-1]
            if champion.number is not None and champion.num_folds == 1:
                yield _CHAMPION, "value", champion.value, RECORD, best


def _read(kind: type[V], path: Path) -> V:
    try:
        return kind.model_validate(read_json(path))
    except (OSError, ValueError, RecursionError) as error:
        raise BundleError(f"{path} cannot be read. Export the bundle again.") from error


def _uid_in(weights: Path) -> str:
    """Return the uid of the model whose weights a file holds."""
    try:
        with safe_open(weights, framework="np") as file:
            return str((file.metadata() or {}).get("recipe", ""))
    except (OSError, SafetensorError) as error:
        raise BundleError(f"{weights} cannot be read. Export the bundle again.") from error


def _text(spec: ModelSpec | PackSpec | None) -> str:
    """Return a spec as text: the order of its views is that of the model's layers."""
    return spec.model_dump_json() if spec else ""


def _says(told: Any, known: Any) -> bool:
    """Say whether all that a recipe tells is so in the other, which may be of a later version."""
    try:
        if isinstance(told, dict) and isinstance(known, dict):
            return all(key in known and _says(value, known[key]) for key, value in told.items())
        return bool(told == known)
    except RecursionError:  # nested as no recipe is
        return False
