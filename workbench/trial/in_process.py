"""A training in this process, with nobody to prune or to pause it: for what is trained again."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import torch

from workbench.console import say
from workbench.data.prepare import Prepared
from workbench.errors import StudyError
from workbench.tables import duration
from workbench.trial import memory
from workbench.trial.compiling import Compile
from workbench.trial.decision import Decision
from workbench.trial.recipe import Recipe
from workbench.trial.result import Epoch, Result, TrialFolder
from workbench.trial.train import run_trial


def train_here(
    recipe: Recipe,
    prepared: Prepared,
    files: TrialFolder,
    *,
    device: str,
    num_threads: int,
    title: str,
    store: Path,
    cache: Path,
    compiled: Compile = "off",
) -> Result:
    """Train a recipe whole, or go on where that was cut off; what is trained already stays.

    Each epoch is told on stderr; the rest goes into the log of `files`.

    Args:
        recipe: What to train.
        prepared: The data that it was made for.
        files: Gets what the training leaves.
        device: A torch device.
        num_threads: CPU threads of torch meanwhile.
        title: What a person calls it.
        store: Folder of local weights.
        cache: Folder in which is kept what memory was met.
        compiled: Whether the training pass is compiled.

    Raises:
        StudyError: the training failed; says why.
        WorkbenchError: as `run_trial`.
    """
    known = files.kept_result()
    if known is not None and known.state == "complete" and files.weights.exists():
        files.require_unchanged()
        return known
    num = recipe.training.num_epochs * (1 if recipe.refit else prepared.num_folds)

    def report(epoch: Epoch) -> Decision:
        say(
            f"{title}: epoch {epoch.epoch} of {num}, loss {epoch.train_loss:.4f}, "
            f"{duration(epoch.seconds)}"
        )
        return "go on"

    files.path.mkdir(parents=True, exist_ok=True)
    with (
        _threads(num_threads),
        files.log.open("a", encoding="utf-8") as log,
        contextlib.redirect_stdout(log),
    ):
        result = run_trial(
            recipe,
            prepared,
            files.path,
            device=device,
            report=report,
            store=store,
            memory_bytes=memory.to_count(device, asked=None, share=1.0),
            cache=cache,
            compiled=compiled,
        )
    if result.state != "complete":
        raise StudyError(f"{title} could not be trained: {result.reason}.")
    return result


@contextlib.contextmanager
def _threads(num: int) -> Iterator[None]:
    """Let torch use so many CPU threads in the body."""
    before = torch.get_num_threads()
    torch.set_num_threads(num)
    try:
        yield
    finally:
        torch.set_num_threads(before)
