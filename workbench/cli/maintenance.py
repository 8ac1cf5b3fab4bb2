"""The commands about studies as a whole: list, delete, clean, and move to another machine."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.shared import (
    JsonOption,
    NoLockOption,
    StudyArgument,
    named_study,
    reporting_errors,
    tracking_of,
)
from workbench.workspace import Workspace

YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask before something is deleted.")]


def studies(
    delete: Annotated[
        str | None,
        typer.Option(help="Delete this study: its folder, its MLflow runs, its registered model."),
    ] = None,
    yes: YesOption = False,
    as_json: JsonOption = False,
    _no_lock: NoLockOption = False,
) -> None:
    """List the studies with how far each is and what it takes; delete one from all places."""
    from workbench.maintenance.listing import describe_studies, list_studies

    workspace = Workspace(Path.cwd())
    with reporting_errors():
        if delete is not None:
            _delete(delete, workspace, yes=yes)
            return
        found = list_studies(workspace)
        if as_json:
            typer.echo(json.dumps([one.model_dump(mode="json") for one in found], indent=2))
        elif not found:
            typer.echo(f"There is no study in {workspace.studies}.\n\nNext: workbench search")
        else:
            typer.echo(describe_studies(found, workspace, now=datetime.now(UTC)))


def _delete(name: str, workspace: Workspace, *, yes: bool) -> None:
    from workbench.maintenance.deletion import (
        delete_study,
        describe_study,
        kept_told,
        lost_elsewhere,
    )
    from workbench.tables import counted, size

    folder = named_study(name)
    if yes:
        if lost := lost_elsewhere(folder, workspace):
            typer.echo(lost)
    else:
        typer.echo(describe_study(folder, workspace))
        typer.confirm(f"Delete the study {name} for good?", abort=True)
    deleted = delete_study(folder, workspace)
    typer.echo(
        f"The study {name} is deleted: its folder, "
        f"{counted(deleted.record.num_runs, 'MLflow run')} and\n"
        f"{counted(deleted.record.num_versions, 'registered version')}, "
        f"{size(deleted.freed_bytes)}."
    )
    if kept := kept_told(folder, deleted.others):
        typer.echo(kept)
    if deleted.server is not None:
        typer.echo(f"{deleted.server} keeps what is deleted until `mlflow gc` is run there.")


def clean(
    study: StudyArgument = None,
    keep: Annotated[
        int, typer.Option(help="Number of the best trials that keep their weights.", min=1)
    ] = 5,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be deleted, and delete nothing.")
    ] = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
    _no_lock: NoLockOption = False,
) -> None:
    """Say what takes the space; delete weights of all but the best trials, and unused views."""
    from workbench.maintenance.cleaning import (
        carry_out,
        describe_deletions,
        describe_plan,
        plan_cleaning,
    )
    from workbench.tables import size

    workspace = Workspace(Path.cwd())
    with reporting_errors():
        folder = named_study(study)
        plan = plan_cleaning(folder, workspace, keep=keep)
        if not as_json:
            typer.echo(describe_plan(plan))
            typer.echo(
                f"\n{describe_deletions(plan)}" if plan.deletions else "\nNothing to delete."
            )
        if plan.deletions and not dry_run:
            if not yes:
                question = f"\nDelete these {size(plan.freed_bytes)} for good?"
                typer.confirm(question, abort=True, err=as_json)
            plan = carry_out(folder, workspace, keep=keep)
            if not as_json:
                left = plan.taken_bytes - plan.freed_bytes
                typer.echo(
                    f"\n{size(plan.freed_bytes)} deleted: {size(plan.taken_bytes)} before, "
                    f"{size(left)} after."
                )
        if as_json:
            typer.echo(plan.model_dump_json(indent=2))


def study_export(
    study: StudyArgument = None,
    out: Annotated[
        Path | None, typer.Option(help="File to make; STUDY.tar by default.", readable=False)
    ] = None,
    _no_lock: NoLockOption = False,
) -> None:
    """Write a study into one file, to go on with it in another folder or on another machine."""
    from workbench.maintenance.study_export import describe_exported, export_study

    with reporting_errors():
        folder = named_study(study)
        file = out or Path(f"{folder.name}.tar")
        exported = export_study(folder, tracking_of(folder), file)
        typer.echo(describe_exported(exported))
        typer.echo(f"\nNext, where it is to go on: workbench study-import {file.name}")


def study_import(
    archive: Annotated[
        Path, typer.Argument(help="File made by `workbench study-export`.", readable=False)
    ],
    trust_plugins: Annotated[
        bool, typer.Option("--trust-plugins", help="Take a study whose plugins run as programs.")
    ] = False,
    _no_lock: NoLockOption = False,
) -> None:
    """Put a study that was exported elsewhere among those here, to go on with it."""
    from workbench.maintenance.study_import import describe_imported, import_study

    with reporting_errors():
        imported = import_study(archive, Workspace(Path.cwd()), trust_plugins=trust_plugins)
        typer.echo(describe_imported(imported))
        typer.echo(f"\nNext: {imported.next_command}")
