"""The command about backbones: rank timm's published models, or judge one."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from workbench.cli.shared import JsonOption, reporting_errors

if TYPE_CHECKING:
    from workbench.parts.leaderboard_ranking import Limits


def backbones(
    check: Annotated[
        str | None, typer.Option(help="Judge one timm model name, with or without a tag.")
    ] = None,
    experiment: Annotated[
        Path | None, typer.Option(help="Judge by the rulebook of this experiment.")
    ] = None,
    limit: Annotated[
        str | None, typer.Option(help="Most parameters, e.g. 40M, instead of the rulebook's.")
    ] = None,
    pretrained: Annotated[
        list[str] | None,
        typer.Option(help="What weights may have seen, e.g. in1k, instead of the rulebook's."),
    ] = None,
    sort: Annotated[
        str | None, typer.Option(help="Figure to rank by, e.g. imagenet, imagenet-r, gap-a.")
    ] = None,
    image_px: Annotated[
        int | None, typer.Option("--image-px", help="Largest side of the images.", min=1)
    ] = None,
    memory: Annotated[
        str | None, typer.Option(help="Memory that training may take, e.g. 16GiB (estimated).")
    ] = None,
    batch: Annotated[
        int | None, typer.Option(help="Batch size that memory is estimated for.", min=1)
    ] = None,
    families: Annotated[int | None, typer.Option(help="Most models of one family.", min=1)] = None,
    top: Annotated[int | None, typer.Option(help="Models in the table.", min=1)] = None,
    excluded: Annotated[
        bool, typer.Option("--excluded", help="List every excluded row with its reason.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Rank timm's models under the rulebook, or judge one by --check: exit code 1 if illegal."""
    asked: dict[str, object] = {
        "sort": sort,
        "image_px": image_px,
        "memory": memory,
        "batch_size": batch,
        "families": families,
        "top": top,
    }
    asked = {key: value for key, value in asked.items() if value is not None}
    with reporting_errors():
        if check is not None:
            if asked or limit or pretrained or excluded:
                raise typer.BadParameter(
                    "--check judges by the rulebook alone: give it no option but --experiment "
                    "and --json."
                )
            _judge(check, experiment, as_json=as_json)
        from workbench.parts import leaderboard, leaderboard_ranking
        from workbench.values import build

        limits = _limits(experiment, limit, pretrained)
        query: leaderboard_ranking.Query = build(
            leaderboard_ranking.Query, {"top": 20, **asked}, where="workbench backbones"
        )
        figures = leaderboard.read_table()
        ranking = leaderboard_ranking.rank(figures, query, limits)
        if as_json:
            found = leaderboard_ranking.as_json(ranking, query, limits, source=figures.source)
            typer.echo(json.dumps(found, indent=2, allow_nan=False))
            return
        if excluded:
            typer.echo(f"{leaderboard_ranking.excluded_table(ranking)}\n")
        typer.echo(leaderboard_ranking.as_table(ranking, query, limits, source=figures.source))
        if ranking.rows:
            typer.echo(f"\nNext: workbench backbones --check {ranking.rows[0].model}")


def _limits(experiment: Path | None, limit: str | None, pretrained: list[str] | None) -> "Limits":
    """Return what published figures are held against: an experiment's rules, or what is asked."""
    from workbench.parts.leaderboard_ranking import Limits
    from workbench.values import build

    limits = Limits()
    if experiment is not None:
        from workbench.data.dataset import read_tree

        # Of the rulebook these keys alone: the rest of an experiment takes torch to read.
        said = read_tree(experiment).get("rulebook", {})
        known = (
            said
            if not isinstance(said, dict)
            else {key: value for key, value in said.items() if key in Limits.model_fields}
        )
        limits = build(Limits, known, where=f"{experiment}, `rulebook`")
    asked: dict[str, object] = {"max_params": limit, "pretraining": tuple(pretrained or ()) or None}
    asked = {key: value for key, value in asked.items() if value is not None}
    return build(Limits, {**limits.model_dump(), **asked}, where="workbench backbones")


def _judge(backbone: str, experiment: Path | None, *, as_json: bool) -> None:
    """Print the rulebook's verdict on one backbone, and exit by it."""
    from workbench.rules.rulebook import Rulebook, judge_published

    rulebook = Rulebook()
    if experiment is not None:
        from workbench.space.experiment import read_experiment

        rulebook = read_experiment(experiment)[0].rulebook
    verdict = judge_published(rulebook, backbone)
    typer.echo(verdict.model_dump_json(indent=2) if as_json else verdict.sentence)
    raise typer.Exit(0 if verdict.legal else 1)
