"""The command about backbones: rank timm's published models, or judge one."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from workbench.cli.shared import JsonOption, reporting_errors

if TYPE_CHECKING:
    from workbench.rules.rulebook import Rulebook


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
        from workbench.parts import leaderboard
        from workbench.rules import ranking as rules
        from workbench.validation import build

        rulebook = _rulebook(experiment, limit, pretrained)
        query: rules.Query = build(rules.Query, {"top": 20, **asked}, where="workbench backbones")
        figures = leaderboard.read_table()
        ranking = rules.rank_backbones(figures, query, rulebook)
        if as_json:
            found = rules.ranking_as_json(ranking, query, rulebook, source=figures.source)
            typer.echo(json.dumps(found, indent=2, allow_nan=False))
            return
        if excluded:
            typer.echo(f"{rules.excluded_table(ranking)}\n")
        typer.echo(rules.ranking_as_table(ranking, query, rulebook, source=figures.source))
        if ranking.rows:
            typer.echo(f"\nNext: workbench backbones --check {ranking.rows[0].model}")


def _rulebook(
    experiment: Path | None, limit: str | None = None, pretrained: list[str] | None = None
) -> "Rulebook":
    """Return what is judged by: an experiment's rulebook, or the default one, and what is asked."""
    from workbench.rules.rulebook import Rulebook
    from workbench.validation import build
    from workbench.yaml_files import build_said

    rulebook = Rulebook()
    if experiment is not None:
        from workbench.data.dataset import read_tree

        # Of the experiment this key alone: the rest of it takes torch to read.
        said = read_tree(experiment).get("rulebook", {})
        rulebook = build_said(Rulebook, said, where=f"{experiment}, `rulebook`")
    asked: dict[str, object] = {"max_params": limit, "pretraining": tuple(pretrained or ()) or None}
    asked = {key: value for key, value in asked.items() if value is not None}
    return build(Rulebook, {**rulebook.model_dump(), **asked}, where="workbench backbones")


def _judge(backbone: str, experiment: Path | None, *, as_json: bool) -> None:
    """Print the rulebook's verdict on one backbone, and exit by it."""
    from workbench.rules.judge import judge_published

    verdict = judge_published(_rulebook(experiment), backbone)
    typer.echo(verdict.model_dump_json(indent=2) if as_json else verdict.sentence)
    raise typer.Exit(0 if verdict.legal else 1)
