"""What the commands share: arguments and options, how an error is told, the study that is meant."""

import os
import re
import resource
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn, overload

import typer

from workbench.addresses import TrackingPlace
from workbench.console import visible_lines
from workbench.errors import WorkbenchError, told
from workbench.visibly import printing_visibly
from workbench.workspace import Workspace

if TYPE_CHECKING:
    from workbench.api.study import Study
    from workbench.searching.options import FinalistsAsked
    from workbench.study.folder import StudyFolder

DEMO = Path("experiments/demo.yaml")

MOST_SEED = 2**31 - 1
"""As in recipes: what is counted up from it is still a seed to every library."""

LEAST_BYTES = 4 * 2**30
"""Address space in which a search of tiny pictures can just run, with two cores and no GPU."""

PLENTY_BYTES, CORE_BYTES = 8 * 2**30, 2**28
"""Address space with which nothing is known to fail, and what each core's threads add to it."""


class PackSetting(StrEnum):
    """Whether a pack of trials may be promoted."""

    auto = "auto"
    off = "off"


# That a path cannot be read is told like every other lack of rights, not as bad usage.
ExperimentArgument = Annotated[Path, typer.Argument(help="Experiment file.", readable=False)]
FittedArgument = Annotated[
    Path | None,
    typer.Argument(
        help="Experiment file; by default one made for the data folder, or else the demo's.",
        readable=False,
    ),
]
StudyArgument = Annotated[
    str | None, typer.Argument(help="Name of the study; the last one searched by default.")
]
DataOption = Annotated[
    Path | None,
    typer.Option(
        help="Data folder; by default the demo, where the experiment is about it.", readable=False
    ),
]
StrictOption = Annotated[
    bool, typer.Option("--strict", help="Fail if any file cannot be decoded as asked.")
]
MemoryOption = Annotated[
    str | None,
    typer.Option(help="Memory that a trial may take on its device, e.g. 16GiB; all by default."),
]
CompileOption = Annotated[
    str,
    typer.Option(
        "--compile", metavar="[on|off]", help="Compile the training pass by torch.compile."
    ),
]


def _without_locks(asked: bool) -> None:
    if asked:
        from workbench.access import go_without_locks

        go_without_locks()


NoLockOption = Annotated[
    bool,
    typer.Option(
        "--no-lock",
        callback=_without_locks,
        help=(
            "Take no locks, for a file system that has none: make sure that no two commands "
            "write at once."
        ),
    ),
]
JobsOption = Annotated[
    str | None,
    typer.Option(help="Trials side by side; auto measures how many the device is good for."),
]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda or e.g. cuda:1.")]
TimeoutOption = Annotated[
    str | None, typer.Option(help="Time after which no new epoch begins, e.g. 90s, 30m, 8h.")
]
StallOption = Annotated[
    str, typer.Option(help="Time without a finished batch after which a trial counts as hung.")
]
PackOption = Annotated[
    PackSetting,
    typer.Option(help="Promote a pack of trials, if it is worth more than the best single model."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]


@contextmanager
def reporting_errors() -> Iterator[None]:
    """Turn an expected error into its sentences on stderr and exit code 1; let bugs traceback.

    Every command runs in it: nothing that the body prints reaches the terminal raw.
    """
    try:
        with printing_visibly():
            yield
    except WorkbenchError as error:
        _end_with(str(error), error)
    except OSError as error:
        # Rights, space and limits can be lacking wherever a file is touched.
        if not (sentence := told(error)):
            raise
        _end_with(sentence, error)


@contextmanager
def stoppable(what_then: str) -> Iterator[None]:
    """Let Ctrl-C end the command with the word of what is kept."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo(f"\nStopped. {what_then}", err=True)
        raise typer.Exit(130) from None


def _end_with(sentence: str, error: Exception) -> NoReturn:
    typer.secho(f"error: {visible_lines(sentence)}", err=True, fg=typer.colors.RED)
    raise typer.Exit(1) from error


def require_address_space() -> None:
    """Look at `ulimit -v` before the slow imports: too little makes libraries fail or hang.

    It counts what is reserved, most of which is never used: a stack and an arena for each thread.

    Raises:
        WorkbenchError: no command can run with so little.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY or limit >= PLENTY_BYTES + CORE_BYTES * (
        os.cpu_count() or 1
    ):
        return
    text = (
        f"The address space is limited to {limit / 2**30:.1f} GiB, in which libraries fail or "
        "hang. Lift the limit by `ulimit -v unlimited`; memory itself is limited by a container."
    )
    if limit < LEAST_BYTES:
        raise WorkbenchError(text)
    typer.secho(f"warning: {text}", err=True, fg=typer.colors.YELLOW)


def named_folders(texts: Sequence[str]) -> dict[str, Path]:
    """Return the folders that an option names by NAME=DIR."""
    found: dict[str, Path] = {}
    for text in texts:
        name, separator, folder = text.partition("=")
        if not (name and separator and folder):
            raise typer.BadParameter(f"{text!r} is not NAME=DIR, e.g. phone=../phone.")
        if name in found:
            raise typer.BadParameter(f"the slice {name} is named twice.")
        found[name] = Path(folder)
    return found


def named_study(study: str | None) -> "StudyFolder":
    """Return the study of that name, or the last one searched."""
    from workbench.study.folder import find_study

    return find_study(Workspace(Path.cwd()).studies, study)


def opened_study(study: str | None) -> "Study":
    """Return the study of that name, or the last one searched, as Python programs use it."""
    from workbench.api.study import Study

    return Study.open(study)


@overload
def seconds(text: str) -> float: ...


@overload
def seconds(text: None) -> None: ...


def seconds(text: str | None) -> float | None:
    """Return the seconds of a time span such as 90s, 30m or 8h."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text)
    if not match:
        raise typer.BadParameter(f"{text!r} is no time span: write e.g. 90s, 30m or 8h.")
    return float(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]]


def num_jobs(text: str | None) -> int | Literal["auto"] | None:
    """Return a number of trials side by side, or `auto`."""
    if text is None:
        return None
    if text == "auto":
        return "auto"
    if not text.isdecimal() or int(text) < 1:
        raise typer.BadParameter(f"{text!r} is no number of jobs: write 1 or more, or auto.")
    return int(text)


def trial_numbers(text: str | None) -> list[int]:
    """Return the numbers of trials such as 3,5,9, each once; none of nothing."""
    if text is None:
        return []
    if not re.fullmatch(r"\d+(,\d+)*", text):
        raise typer.BadParameter(f"{text!r} is not a list of trial numbers: write e.g. 3,5,9.")
    return list(dict.fromkeys(map(int, text.split(","))))


def compile_setting(text: str) -> Literal["on", "off"]:
    """Return a setting of `--compile`."""
    match text:
        case "on" | "off":
            return text
    raise typer.BadParameter(f"{text!r} is no setting of --compile: write on or off.")


def tracking_of(folder: "StudyFolder") -> TrackingPlace:
    """Return where the runs of a study are."""
    server = folder.experiment().tracking if folder.experiment_file.exists() else None
    return Workspace(Path.cwd()).tracking_of(server)


def parse_bytes(text: str | None) -> int | None:
    """Return the bytes of a memory size such as 16GiB or 800MiB."""
    if text is None:
        return None
    from workbench.rules import ranking

    try:
        number = int(ranking.parse_size(text))
    except ValueError as error:
        raise typer.BadParameter(f"{text!r}: {error}.") from error
    if number < 1:
        raise typer.BadParameter(f"{text!r} is no memory at all: write e.g. 16GiB or 800MiB.")
    return number


def parse_params(text: str | None) -> int | None:
    """Return a number of parameters such as 100M."""
    if text is None:
        return None
    from workbench.rules.rulebook import num_params

    try:
        number = int(num_params(text))
    except ValueError as error:
        raise typer.BadParameter(f"{text!r}: {error}.") from error
    if number < 1:
        raise typer.BadParameter(f"{text!r} allows no model at all: write e.g. 100M.")
    return number


def finalists_asked(text: str | None) -> "FinalistsAsked | None":
    """Return what a final round such as 5x3 is: so many finalists, each with so many seeds."""
    if text is None:
        return None
    from workbench.searching.options import FinalistsAsked

    match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
    if not match:
        raise typer.BadParameter(
            f"{text!r} is not a number of finalists and of seeds: write e.g. 5x3, five "
            "finalists with three seeds each."
        )
    return FinalistsAsked(int(match[1]), int(match[2]))
