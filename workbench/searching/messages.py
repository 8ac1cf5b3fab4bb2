"""What a search says to the person at the terminal, in lines."""

from workbench.console import cut_text
from workbench.searching.costs import CostForecast
from workbench.searching.open_trials import OpenTrial
from workbench.tables import counted, duration
from workbench.trial.result import Result

CTRL_C = "Ctrl-C: the trials in flight end their epochs and are kept. Once more stops at once."

ANNOUNCED_S = 60.0
"""A trial that is expected to take so long is announced, with what it is expected to cost."""

_MOST_LETTERS = 300

NEARLY_FULL = "The disk is nearly full: the paused trial with the least hope is pruned."


def resumed(running: OpenTrial) -> str:
    """Return that a paused trial goes on."""
    return f"trial {running.name:<3} goes on after epoch {len(running.epochs)}"


def announced(running: OpenTrial, expected: CostForecast) -> str:
    """Return what a trial is expected to take, where that is long."""
    if expected.seconds < ANNOUNCED_S:
        return ""
    return f"trial {running.name:<3} starts    {running.recipe.model.label}  {expected}"


def restarted(running: OpenTrial, reason: str) -> str:
    """Return that another worker goes on with a trial whose worker died for `reason`."""
    done = len(running.epochs)
    where = f"goes on after epoch {done}" if done else "begins it again"
    return f"trial {running.name}: {reason} Another worker {where}."


def asked_again(running: OpenTrial, reason: str) -> str:
    """Return that a trial is asked again by the next search, and why it ended in this one."""
    return f"trial {running.name}: {reason}. The next search asks it again"


def needed(running: OpenTrial, reason: str) -> str:
    """Return that a training ends since one that all of it needs could not go on, and why."""
    return (
        f"Trial {running.name} is needed, and its worker died again: {reason.rstrip('.')}. See "
        "what stops it, such as too little memory; the same command goes on with it."
    )


def trial_ended(running: OpenTrial, result: Result, metric: str) -> str:
    """Return how a trial ended or paused."""
    score = "" if result.objective is None else f"  {metric} {result.objective:.4f}"
    parts = "" if result.micro_batch is None else f"  in parts of {result.micro_batch}"
    parts += "  checkpointed" * result.checkpointed
    why = f"  {result.reason}" if result.state == "failed" or not result.epochs else ""
    return (
        f"trial {running.name:<3} {result.state:<8}{score}  {running.recipe.model.label}"
        f"  {len(result.epochs)}/{running.num_epochs} epochs"
        f"  {duration(result.seconds)}{parts}{why}"
    )


def bug(traceback: str) -> str:
    """Return why a trial failed that hit a bug: what was raised, and where to look for more."""
    lines = traceback.strip().split("\n")
    frames = [number for number, line in enumerate(lines) if line.startswith("  File ")]
    # What was raised follows the last frame, and may have lines of its own.
    after = lines[frames[-1] + 1 :] if frames else lines
    raised = next((line for line in after if line and not line.startswith(" ")), lines[-1])
    said = cut_text(raised.encode("utf-8", "backslashreplace").decode(), _MOST_LETTERS).rstrip(".")
    return (
        f"a bug: {said or 'nothing is known of it'}. Please report it with the traceback in the "
        "trial's log.txt"
    )


def left_over(number: int) -> str:
    """Return that so many paused trials are over, since nothing is left to be trained."""
    trials = "1 paused trial is" if number == 1 else f"{number} paused trials are"
    return f"{trials} pruned: enough others did as well or better at the same epoch."


def used_up(number: int) -> str:
    """Return that the search space holds no more than so many recipes."""
    return f"The search space is used up: {number} different recipes are all it holds."


def time_is_up(*, missing: int, waiting: int, in_flight: int) -> str:
    """Return that the time is up; so many trials were not run whole."""
    counts = [
        (missing, "is still to run", "are still to run"),
        (waiting, "is paused", "are paused"),
        (in_flight, "ends its epoch and is kept", "end their epochs and are kept"),
    ]
    left = [
        f"{number} {one if number == 1 else several}" for number, one, several in counts if number
    ]
    return f"The time is up. Of the trials, {', '.join(left)}. The same command continues."


def adopted(told: int, again: int) -> str:
    """Return what became of the trials that a search left which was cut off."""
    return (
        f"The last search was cut off: {counted(told, 'trial')} of it had ended, "
        f"{counted(again, 'trial')} will run again, with a new number."
    )


def written_anew(mended: int) -> str:
    """Return the sentence about so many runs that the tracking store lacked."""
    return f"MLflow lacked {counted(mended, 'ended trial')}: written anew from the study's folder."
