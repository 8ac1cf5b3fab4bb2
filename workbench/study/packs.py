"""The packs of a study: several of its trained trials, or soups of them, joined into one model.

A pack is no trial: nothing is trained for it, and no number of trials counts it. It has a folder of
its own with the files of a trained model, and in place of a recipe the record of what it joins.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from workbench.data.dataset import NAME
from workbench.errors import DamagedFileError
from workbench.files import hash_file, write_text
from workbench.parts.model_spec import ModelSpec
from workbench.parts.pack_spec import PackSpec
from workbench.trial.constraints import Constraints, broken, constrained_values
from workbench.trial.recipe import Objective, Recipe
from workbench.trial.result import ModelFolder, Result, TrialFolder
from workbench.validation import read_record
from workbench.values import Frozen

PACK_FILE = "pack.json"
_REMEDY = "Put the file back, or remove the folder: `workbench pack` makes it anew."


class PackMember(Frozen):
    """A trained trial in a pack, or a soup of several."""

    study: str = Field(pattern=f"^{NAME}$")
    number: int
    """The trial's, in its study; of a soup that of the best in it."""

    recipe: str
    """The uid of its recipe, or of the soup."""

    soup: tuple[int, ...] = ()
    """The trials whose weights it is the mean of, where it is a soup."""

    trained: Recipe
    """The recipe itself."""

    weights_sha256: str
    """Of its file of weights."""

    objective: float
    """The trial's own."""

    ms_per_file: float | None = None
    """What scoring took of a file by it, from its stored views on; unknown of older versions."""

    def title_in(self, study: str) -> str:
        """Return what a person calls it where `study` is spoken of; see `title_within`."""
        number = None if self.soup else self.number
        title = title_of(number, self.recipe, is_soup=bool(self.soup))
        return title_within(title, self.study, of=study)


class FinalistHeld(Frozen):
    """The best finalist of a study, as a pack was held against it."""

    number: int
    """The trial's."""

    mean: float
    """Of the objective over its repeats: nobody picked them, so it needs no correction."""

    num_seeds: int
    params: int
    lead: float
    """How much better what the pack is expected to have is; below 0 if it is worse."""

    @property
    def told(self) -> str:
        """What it is and has, for a person."""
        seeds = "a new seed" if self.num_seeds == 1 else f"{self.num_seeds} new seeds"
        return f"trial {self.number}, mean {self.mean:.3f} over {seeds}"


class PackEstimate(Frozen):
    """What a pack is worth on new data of the same kind, its choosing allowed for."""

    expected: float | None
    """Its objective, corrected for having been chosen; absent where the samples are too few."""

    low: float | None
    high: float | None
    """The ends of the 95% interval of the true value."""

    gain: float | None
    """How much better it is than the best single trial, both chosen anew on parts of the files;
    below 0 if it is worse."""

    gain_low: float | None
    gain_high: float | None
    rounding: float = 0.0
    """A gain up to this counts as none; 0 of older versions."""

    finalist: FinalistHeld | None = None
    """What it is held against in place of the best single trial, where that was trained again."""

    num_trials: int
    """Complete trials that both were chosen among."""

    method: str
    """How the numbers were made, in one sentence."""

    caveat: str = ""
    """What they do not allow for, in a sentence."""

    @property
    def sentence(self) -> str:
        """Return what to expect of it, for a person."""
        if self.expected is None:
            return "Too few files of a class to tell what new data would bring."
        within = ""
        if self.low is not None and self.high is not None:
            within = (
                f" ({self.low:.2f} to {self.high:.2f}, 95%: members and weights chosen among "
                f"{self.num_trials} trials)"
            )
        return (
            f"Expected on new data of this kind {self.expected:.3f}{within}. {self.caveat}".strip()
        )

    @property
    def gain_sentence(self) -> str:
        """Return how it stands to the best single model, for a person; empty if nothing tells."""
        lead, other, within = self.lead, "the best single trial", ""
        if lead is None:
            return ""
        if self.finalist is not None:
            other, within = "the best finalist", f" ({self.finalist.told})"
        elif self.gain_low is not None and self.gain_high is not None:
            within = f" (gain {self.gain_low:+.3f} to {self.gain_high:+.3f}, 95%)"
        way = "better" if lead >= 0 else "worse"
        than = f"{way} than {other} by {abs(lead):.3f}"
        if self.is_tie:
            than = f"as good as {other}"
        return f"It is expected to be {than}{within}."

    @property
    def lead(self) -> float | None:
        """How much better it is than what it is held against; below 0 if it is worse."""
        return self.finalist.lead if self.finalist else self.gain

    @property
    def is_tie(self) -> bool:
        """Whether it is worth as much as what it is held against, so that the size decides."""
        return self.lead is not None and abs(self.lead) <= self.rounding

    @property
    def lines(self) -> list[str]:
        """Return it for a person, a sentence each."""
        return [said for said in (self.sentence, self.gain_sentence) if said]


class PackRecord(Frozen):
    """What a pack is made of, and how it was chosen."""

    format: Literal[1] = 1
    spec: PackSpec
    """Its members stand in the order of `members`."""

    members: Annotated[tuple[PackMember, ...], Field(min_length=1)]
    data: str
    """Fingerprint of labels and media."""

    objective: Objective
    num_trials: int
    """Complete trials that it was chosen among."""

    estimate: PackEstimate | None = None
    best_single: int | None = None
    """The trial that it was held against, the best of its study."""

    params_thop: int | None = None
    params_true: int | None = None

    @property
    def uid(self) -> str:
        """Twelve hex digits of what it scores: its spec, and the weights of its members."""
        parts = [self.spec.model_dump(mode="json"), [one.weights_sha256 for one in self.members]]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]

    def member_names(self, study: str) -> tuple[str, ...]:
        """Return what a person calls the members: their numbers, with the study if another."""
        return tuple(
            member_name(one.study, one.number, one.recipe, one.soup, of=study)
            for one in self.members
        )


def broken_by(constraints: Constraints, pack: PackRecord, result: Result) -> tuple[str, ...]:
    """Return the constraints that a pack breaks as a whole, each in words."""
    counts = (pack.params_thop, pack.params_true)
    return broken(constraints, constrained_values(result, params=counts))


def member_name(study: str, number: int, uid: str, soup: Sequence[int], *, of: str) -> str:
    """Return what a person calls a member of a pack of the study `of`: `5`, `other:5`."""
    name = title_of(None if soup else number, uid, is_soup=bool(soup)).removeprefix("trial ")
    return name if study == of else f"{study}:{name}"


def title_within(title: str, study: str, *, of: str) -> str:
    """Return what a person calls a model where the study `of` is spoken of: `trial 5 of other`.

    Two studies have a trial of one number.
    """
    return title if study == of else f"{title} of {study}"


def members_told(names: Iterable[str]) -> str:
    """Return what a pack joins, of `PackRecord.member_names`: `trials 3 and 5 and soup 1f0c...`."""
    kinds: dict[str, list[str]] = {"trial": [], "soup": []}
    for name in names:
        kinds["soup" if "soup " in name else "trial"].append(name.replace("soup ", ""))
    told = []
    for kind, (*most, last) in filter(lambda each: each[1], kinds.items()):
        told.append(f"{kind}s {', '.join(most)} and {last}" if most else f"{kind} {last}")
    return " and ".join(told)


class PackFolder(ModelFolder):
    """The files of one pack.

    Args:
        path: The folder.
        uid: Of the pack whose files belong there.
    """

    def __init__(self, path: Path, uid: str = "") -> None:
        super().__init__(path, uid, record=PACK_FILE)

    def read_pack(self) -> PackRecord:
        """Return what the pack is.

        Raises:
            DamagedFileError: the file is gone, or is not what was written.
        """
        pack, result = read_record(PackRecord, self.record, remedy=_REMEDY), self.kept_result()
        wanted = result.recipe_sha256 if result else ""
        if wanted and hash_file(self.record) != wanted:
            raise DamagedFileError(f"{self.record} is not what was written. {_REMEDY}")
        return pack

    def write_pack(self, pack: PackRecord) -> None:
        """Write what the pack is."""
        write_text(self.record, pack.model_dump_json(indent=2) + "\n")


def spec_of(files: ModelFolder) -> ModelSpec | PackSpec:
    """Return the spec of the model whose files these are.

    Raises:
        DamagedFileError: the record of it is gone, or is not what was written.
    """
    if isinstance(files, PackFolder):
        return files.read_pack().spec
    assert isinstance(files, TrialFolder)
    return files.read_recipe().model


def title_of(number: int | None, uid: str, *, is_soup: bool = False) -> str:
    """Return what a person calls a model: `trial 5`, or `pack 1f0c...` where it is of no trial."""
    if number is not None:
        return f"trial {number}"
    return f"{'soup' if is_soup else 'pack'} {uid}"
