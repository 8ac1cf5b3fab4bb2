"""The backbones that a search space offers: by name, by view, or by the table of figures."""

from typing import Any

from workbench.errors import ConfigError
from workbench.parts.leaderboard import read_table
from workbench.rules.ranking import Query, rank_backbones
from workbench.rules.rulebook import Rulebook
from workbench.space.language import in_words, options_of
from workbench.yaml_files import build_said

MAX_QUESTIONS = 20
"""To the table of figures, in one choice."""


def is_by_view(node: Any) -> bool:
    """Return whether the tree's `backbone` is a mapping of views to names or draws."""
    draws = {"choice", "float", "int", "leaderboard", "asked"}
    return isinstance(node, dict) and not node.keys() & draws


def backbone_nodes(node: Any, key: str = "backbone") -> list[tuple[str, str, Any]]:
    """Return view, key and node of each that says a backbone; the view is "" for all of them."""
    if not is_by_view(node):
        return [("", key, node)]
    return [(view, f"{key}.{view}", inner) for view, inner in node.items()]


def kept_answer(mine: Any, begun: Any) -> Any:
    """Return what a begun study has in place of `mine`, if it answers the same question."""
    asked = mine.get("asked") if isinstance(mine, dict) else None
    same = asked is not None and isinstance(begun, dict) and begun.get("asked") == asked
    return begun if same else mine


def answered(tree: dict[Any, Any], rulebook: Rulebook, where: str) -> dict[Any, Any]:
    """Return the tree with each question to the table of figures answered by a plain choice."""
    answers = {
        view: _answer(node, key, tree["views"], rulebook, where)
        for view, key, node in backbone_nodes(tree["backbone"])
    }
    return {**tree, "backbone": answers if is_by_view(tree["backbone"]) else answers[""]}


def _answer(node: Any, key: str, views: Any, rulebook: Rulebook, where: str) -> Any:
    if not isinstance(node, dict) or "asked" in node:
        return node  # a name, or answered before
    options = node["choice"] if isinstance(node.get("choice"), list) else [node]
    num_asked = sum(isinstance(option, dict) and "leaderboard" in option for option in options)
    if not num_asked:
        return node
    if num_asked > MAX_QUESTIONS:
        raise ConfigError(
            f"{where}: `{key}` has {num_asked} options with a `leaderboard`, and at most "
            f"{MAX_QUESTIONS} are allowed. Ask for more models by one of them."
        )
    sets = options_of(views, "views", where)
    most_views = max(len(names) if isinstance(names, list) else 1 for names in sets)
    names: list[Any] = []
    for option in options:
        asks = isinstance(option, dict) and "leaderboard" in option
        found = _ask(option, key, rulebook, max(1, most_views), where) if asks else [option]
        names += [name for name in found if not asks or name not in names]
    return {"choice": names, "asked": node}


def _ask(
    node: dict[Any, Any], key: str, rulebook: Rulebook, num_views: int, where: str
) -> list[str]:
    """Return the models that a question asks for, the best first."""
    if extra := node.keys() - {"leaderboard"}:
        raise ConfigError(
            f"{where}: `{key}` has other keys beside `leaderboard`: {in_words(extra)}. "
            "Move them into it."
        )
    query: Query = build_said(Query, node["leaderboard"], where=f"{where}, `{key}.leaderboard`")
    ranking = rank_backbones(read_table(), query, rulebook, num_views=num_views)
    if not ranking.rows:
        first = ranking.excluded[0]
        counts = ", ".join(
            f"{number} by {reason}" for reason, number in ranking.num_excluded().items()
        )
        raise ConfigError(
            f"{where}: `{key}.leaderboard` finds no model: of its rows, {counts} are excluded "
            f"({first.row.model}, for one: {first.sentence}). Ask for less; "
            "`workbench backbones --excluded` says why each one is."
        )
    return [row.model for row in ranking.rows[: query.top]]
