"""A ranking of timm's models by their published figures, under what a rulebook allows.

It loads no torch: parameters are the published counts, pretraining is read from the tag, and
memory is estimated. What a study trains is counted and judged anew.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BeforeValidator, Field, field_validator

from workbench.parts.leaderboard import BATCH, KEPT, SPEEDS, Row, Table
from workbench.rules.rulebook import Params, PretrainingLabels, Rule, Rulebook
from workbench.rules.subject import StartWeights, Subject
from workbench.tables import text_table
from workbench.values import Frozen

_BYTES = {"MIB": 2**20, "GIB": 2**30, "MB": 10**6, "GB": 10**9}


def parse_size(value: Any) -> Any:
    """Return a memory size written as `16GiB` in bytes; anything but text as it is."""
    if isinstance(value, bool):  # YAML's `yes`, and to pydantic 1 byte
        raise ValueError("write a memory size such as 16GiB or 800MiB")
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([MG]i?B)\s*", value, re.IGNORECASE)
    if not match:
        raise ValueError("write a memory size such as 16GiB or 800MiB")
    return round(float(match[1]) * _BYTES[match[2].upper()])


Sort = Literal[
    "imagenet", "imagenet-a", "imagenet-r", "real", "sketch", "v2", "gap-a", "gap-r",
    "params", "gmacs", "train-speed", "infer-speed", "cpu-speed",
]  # fmt: skip


class Figure(NamedTuple):
    """What rows can be sorted by."""

    words: str
    most: bool
    """Whether a greater one is better."""

    of: Callable[[Row], float | None]


FIGURES: dict[Sort, Figure] = {
    "imagenet": Figure("top-1 on ImageNet", True, lambda r: r.imagenet),
    "imagenet-a": Figure("top-1 on ImageNet-A", True, lambda r: r.imagenet_a),
    "imagenet-r": Figure("top-1 on ImageNet-R", True, lambda r: r.imagenet_r),
    "real": Figure("top-1 on ImageNet-ReaL", True, lambda r: r.real),
    "sketch": Figure("top-1 on ImageNet-Sketch", True, lambda r: r.sketch),
    "v2": Figure("top-1 on ImageNet-V2", True, lambda r: r.imagenet_v2),
    "gap-a": Figure("gap from clean images to ImageNet-A", False, lambda r: r.gap_a),
    "gap-r": Figure("gap from clean images to ImageNet-R", False, lambda r: r.gap_r),
    "params": Figure("number of parameters", False, lambda r: r.params_m),
    "gmacs": Figure("number of multiplications", False, lambda r: r.gmacs),
    "train-speed": Figure("training speed", True, lambda r: r.train_per_s),
    "infer-speed": Figure("inference speed", True, lambda r: r.infer_per_s),
    "cpu-speed": Figure("inference speed on a CPU", True, lambda r: r.cpu_infer_per_s),
}


_Column = tuple[str, Callable[[float | None], str], Callable[[Row], float | None]]
"""Title, format and value of a printed column."""

_SHORT: dict[Sort, str] = {
    "imagenet": "ImageNet",
    "v2": "V2",
    "real": "ReaL",
    "sketch": "Sketch",
    "imagenet-a": "-A",
    "gap-a": "gap -A",
    "imagenet-r": "-R",
    "gap-r": "gap -R",
}
"""The columns of the printed table, accuracies in percent."""


class Query(Frozen):
    """Which models are wanted, of those that the rulebook allows."""

    sort: Sort = "imagenet-r"
    top: int = Field(12, ge=1)
    families: int | None = Field(None, ge=1)
    """The most models of one family."""

    limit: Params | None = None
    """The most parameters, where that is less than the rulebook's."""

    pretrained: PretrainingLabels | None = None
    """What the weights may have seen, where that is less than the rulebook allows."""

    image_px: int | None = Field(None, ge=1)
    """The largest side of the images that the figures are for, in pixels."""

    memory: Annotated[int | None, BeforeValidator(parse_size), Field(ge=1)] = None
    """Bytes that a training step may need by `Row.memory_bytes`; YAML may say `16GiB`."""

    batch_size: int = Field(BATCH, ge=1)

    @field_validator("pretrained", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    def narrowed(self, rulebook: Rulebook) -> Rulebook:
        """Return `rulebook` with what the query asks for where that is less; tags stay allowed."""
        wanted: dict[str, Any] = {}
        if self.limit is not None:
            wanted["max_params"] = min(self.limit, rulebook.max_params)
        if self.pretrained is not None:
            wanted["pretraining"] = self.pretrained
        return rulebook.model_copy(update=wanted)


class Excluded(NamedTuple):
    """A row that is not ranked, and why."""

    row: Row
    reason: str
    """The name of a rule that refuses it, or `image`, `memory`, `figure`, `size`, `family`."""

    sentence: str
    cause: str = ""
    """By what many rows of one reason are told apart, where they can be."""


class Ranking(NamedTuple):
    """Every row of a table, ranked or excluded."""

    rows: tuple[Row, ...]
    """One a model, the best first; not yet cut to the query's `top`."""

    excluded: tuple[Excluded, ...]

    def num_excluded(self) -> dict[str, int]:
        """Return how many rows each reason excludes."""
        return dict(Counter(item.reason for item in self.excluded))


def rank_backbones(
    table: Table, query: Query, rulebook: Rulebook, *, num_views: int = 1
) -> Ranking:
    """Rank the rows of `table` by `query` under `rulebook`; a tie goes to the better on ImageNet.

    A model has one row for each image size that it was evaluated at; the best is kept.

    Args:
        table: The published figures.
        query: Which models are wanted.
        rulebook: What it refuses is excluded, as far as published figures tell.
        num_views: Views of the model, each of which has a backbone of its own; the query's own
            limit is that of one backbone.
    """
    narrowed = query.narrowed(rulebook).rules
    asked = [
        pair
        for rule, own in zip(rulebook.rules, narrowed, strict=True)
        for pair in ((rule, num_views), (own, 1))
    ]
    figure = FIGURES[query.sort]
    kept: list[tuple[float, Row]] = []
    excluded = []
    for row in table.rows:
        value = figure.of(row)
        refused = _refused(row, query, asked)
        if refused is not None:
            excluded.append(refused)
        elif value is None:
            sentence = f"there is no published {figure.words} of it"
            excluded.append(Excluded(row, "figure", sentence))
        else:
            kept.append((-value if figure.most else value, row))
    kept.sort(key=lambda item: (item[0], -(item[1].imagenet or 0), item[1].model, item[1].image_px))
    ranked: dict[str, Row] = {}
    families: Counter[str] = Counter()
    crowded: set[str] = set()
    for _, row in kept:
        if (first := ranked.get(row.model)) is not None:
            sentence = f"the same weights rank higher at {first.image_px} px"
            excluded.append(Excluded(row, "size", sentence))
        elif row.model in crowded or families[row.family] == query.families:
            crowded.add(row.model)
            sentence = f"{query.families} of the family {row.family} rank higher"
            excluded.append(Excluded(row, "family", sentence))
        else:
            ranked[row.model] = row
            families[row.family] += 1
    return Ranking(tuple(ranked.values()), tuple(excluded))


def _refused(row: Row, query: Query, asked: Sequence[tuple[Rule, int]]) -> Excluded | None:
    """Return why a row is not ranked; `asked` are the rules, each for a number of backbones."""
    label, why = row.saw
    start, params = StartWeights(name=row.model, label=label, why=why), round(row.params_m * 1e6)
    for rule, num_backbones in asked:
        said = rule.check(Subject(starts=(start,), published=(params,) * num_backbones))
        if said.ok is False:
            return Excluded(row, said.name, said.sentence, said.cause)
    if query.image_px is not None and row.image_px > query.image_px:
        sentence = f"its figures are for {row.image_px} px, over {query.image_px} px"
        return Excluded(row, "image", sentence)
    if query.memory is not None:
        need = row.memory_bytes(query.batch_size)
        if need is None:
            return Excluded(row, "memory", "no published activations to estimate its memory by")
        if need > query.memory:
            sentence = f"about {need / 2**30:.1f} GiB to train, over {query.memory / 2**30:.4g} GiB"
            return Excluded(row, "memory", sentence)
    return None


def ranking_as_table(ranking: Ranking, query: Query, rulebook: Rulebook, *, source: str) -> str:
    """Return the best rows as text, with a foot that says why the others are not among them."""
    figure = FIGURES[query.sort]
    shown = ranking.rows[: query.top]
    columns: list[_Column] = [
        ("px", _whole, lambda r: r.image_px),
        ("M params", _tenth, lambda r: r.params_m),
    ]
    columns += [(words, _tenth, FIGURES[sort].of) for sort, words in _SHORT.items()]
    columns.append(("train/s", _whole, lambda r: r.train_per_s))
    columns.append(("infer/s", _whole, lambda r: r.infer_per_s))
    if query.sort in ("gmacs", "cpu-speed"):
        columns.append((query.sort, _tenth, figure.of))
    columns.append((f"GiB at {query.batch_size}", _tenth, lambda r: _gib(r, query.batch_size)))
    cells = [[row.model, *(shape(of(row)) for _, shape, of in columns)] for row in shown]
    best = "greatest" if figure.most else "least"
    num_rows = len(ranking.rows) + len(ranking.excluded)
    lines = [
        text_table(["model", *(words for words, _, _ in columns)], cells)
        if cells
        else "No model is left.",
        "",
        f"{len(shown)} of {len(ranking.rows)} models, the {best} {figure.words} first; "
        f"{num_rows} rows in all, {source}.",
        *_why_not(ranking, query, rulebook),
        "Parameters are published counts, with a head of 1,000 classes, of one view; "
        "`workbench backbones --check NAME` counts truly.",
        SPEEDS,
        f"GiB: an estimate of training at batch {query.batch_size} in 32 bits: 16 bytes a "
        f"parameter (AdamW) and {KEPT:g} x 4 bytes an activation.",
    ]
    return "\n".join(lines)


def excluded_table(ranking: Ranking) -> str:
    """Return each row that is not ranked, with the reason."""
    rows = sorted(ranking.excluded, key=lambda item: (item.row.model, item.row.image_px))
    cells = [[item.row.model, str(item.row.image_px), item.reason, item.sentence] for item in rows]
    return text_table(["excluded", "px", "reason", "why"], cells)


def ranking_as_json(
    ranking: Ranking, query: Query, rulebook: Rulebook, *, source: str
) -> dict[str, Any]:
    """Return the ranking as plain values: the rows shown, and every excluded one with why."""
    return {
        "source": source,
        "query": query.model_dump(mode="json"),
        "limits": rulebook.model_dump(mode="json"),
        "num_ranked": len(ranking.rows),
        "rows": [
            {
                **row.model_dump(mode="json"),
                "gap_a": row.gap_a,
                "gap_r": row.gap_r,
                "family": row.family,
                "pretraining": row.saw.label,
                "memory_bytes": row.memory_bytes(query.batch_size),
            }
            for row in ranking.rows[: query.top]
        ],
        "num_excluded": ranking.num_excluded(),
        "excluded": [
            {
                "model": item.row.model,
                "image_px": item.row.image_px,
                "reason": item.reason,
                "sentence": item.sentence,
            }
            for item in ranking.excluded
        ],
    }


def _why_not(ranking: Ranking, query: Query, rulebook: Rulebook) -> list[str]:
    """Return one sentence that counts the excluded rows by reason."""
    counts = ranking.num_excluded()
    if not counts:
        return []
    words = {rule.name: rule.refuses for rule in query.narrowed(rulebook).rules} | {
        "image": f"for images over {query.image_px} px",
        "memory": f"over {(query.memory or 0) / 2**30:.4g} GiB to train",
        "figure": "without that figure",
        "size": "the same weights at another image size",
        "family": f"beyond {query.families} of their family",
    }
    said = []
    for key in filter(counts.__contains__, words):
        causes = Counter(item.cause for item in ranking.excluded if item.reason == key)
        told = ", ".join(f"{number} {cause}" for cause, number in causes.most_common() if cause)
        said.append(f"{counts[key]} {words[key]}{f' ({told})' if told else ''}")
    return [f"Excluded: {', '.join(said)}. `--excluded` lists them."]


def _gib(row: Row, batch_size: int) -> float | None:
    need = row.memory_bytes(batch_size)
    return None if need is None else need / 2**30


def _whole(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"


def _tenth(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
