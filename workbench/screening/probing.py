"""The screening at work: features and probes of every candidate, in a process of their own."""

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from pebble import ProcessExpired, ProcessPool

from workbench.console import track
from workbench.errors import CacheError, ConfigError, DiskFullError, WeightsError, WorkbenchError
from workbench.fence import KEEP_MEMORY, SLEEP_AT_BARRIERS
from workbench.files import write_json
from workbench.media.declared import PICTURED
from workbench.media.views import AnyView
from workbench.parts.weights import RANDOM, Mode, Weights
from workbench.processes import Spawning, be_a_child, environment, interrupts_held
from workbench.rules.rulebook import Rulebook
from workbench.screening.probe import Asked, Where, compute, probe
from workbench.screening.screening import (
    FILE,
    Candidate,
    Screening,
    choose_backbones,
    read_screening,
)
from workbench.space.space import Space
from workbench.space.weights_finder import WeightsFinder, judge_start
from workbench.tables import duration

LIMIT_S = 900.0
"""Time that the features of one view by one backbone may take."""

T = TypeVar("T")


def screen(
    space: Space,
    views: Mapping[str, AnyView],
    folder: Path,
    *,
    rulebook: Rulebook,
    finder: WeightsFinder,
    cache: Path,
    device: str,
    num_threads: int,
    limit_s: float = LIMIT_S,
) -> Screening:
    """Return the screening of a study: the one in its folder, or a new one that is put there.

    Features are computed in a process of their own: one that dies or hangs costs its candidate.
    What the rulebook refuses is not judged. Features are kept in `cache`, so that a screening that
    was cut off goes on. The folder has the prepared data.

    Raises:
        DiskFullError: features could not be kept.
    """
    if (known := read_screening(folder)) is not None:
        return known
    started = time.monotonic()
    where = Where(cache, finder.store, device, num_threads)
    made: dict[Asked, float | str] = {}
    judged = []
    found = list(candidates_of(space, views, rulebook, finder))
    with child_process() as child:
        for candidate, weights in track(found, "screen", unit="candidate"):
            if candidate.reason:
                judged.append(candidate)
                continue
            asked = asked_of(candidate, weights, views, folder)
            for one in asked:
                if one not in made:
                    made[one] = ask(child, limit_s, compute, one, where)
            judged.append(_judged(candidate, asked, made, child, where, limit_s))
    order = sorted(judged, key=lambda one: -1 if one.auc is None else one.auc, reverse=True)
    screening = Screening(
        candidates=tuple(order),
        kept=_kept(order, space),
        seconds=time.monotonic() - started,
    )
    write_json(folder / FILE, screening.model_dump(mode="json"))
    return screening


def asked_of(
    candidate: Candidate, weights: Weights, views: Mapping[str, AnyView], folder: Path
) -> tuple[Asked, ...]:
    """Return the features of a candidate's views, of data prepared in `folder`."""
    return tuple(
        Asked(folder, name, candidate.image_px, candidate.backbone, weights)
        if views[name].modality in PICTURED
        else Asked(folder, name, candidate.image_px)
        for name in candidate.views
    )


def _kept(
    ranked: Sequence[Candidate], space: Space
) -> tuple[str, ...] | dict[str, tuple[str, ...]]:
    """Return which backbones go on; of each view, where each has its own to choose from."""
    of_view = space.backbones_by_view()
    if "" in of_view:
        return choose_backbones(ranked, of_view[""])
    return {
        view: choose_backbones([one for one in ranked if one.views == (view,)], names)
        for view, names in of_view.items()
        if len(names) > 1
    }


def _judged(
    candidate: Candidate,
    asked: tuple[Asked, ...],
    made: Mapping[Asked, float | str],
    child: ProcessPool,
    where: Where,
    limit_s: float,
) -> Candidate:
    """Return the candidate with the probe's word, or why there is none."""
    seconds = 0.0
    for one in asked:
        took = made[one]
        if isinstance(took, str):
            return candidate.model_copy(update={"reason": f"{one.view}: {took}"})
        seconds += took
    began = time.monotonic()
    said = ask(child, limit_s, probe, asked, where)
    if isinstance(said, str):
        return candidate.model_copy(update={"reason": said})
    seconds += time.monotonic() - began
    return candidate.model_copy(update={**said._asdict(), "seconds": seconds})


def candidates_of(
    space: Space, views: Mapping[str, AnyView], rulebook: Rulebook, finder: WeightsFinder
) -> Iterator[tuple[Candidate, Weights]]:
    """Yield what can be drawn; with a reason where it is not to be judged."""
    sides = sorted({draft.image_px for draft in space.corners()})
    asked = [
        (backbone, names)
        for view, known in space.backbones_by_view().items()
        for backbone in (known if len(known) > 1 or not view else [])
        for names in ([(view,)] if view else space.view_sets())
    ]
    for backbone, names in asked:
        ways: dict[Weights, Mode] = {}
        reason = "no pretrained weights"
        for mode in space.pretrained_modes():
            try:
                weights = finder.find(backbone, mode)
            except WeightsError as error:
                reason = str(error)
                continue
            if weights.source != "none":
                ways.setdefault(weights, mode)
        if all(views[name].modality not in PICTURED for name in names):
            reason, ways = "these views go through no backbone", {}
        if any(views[name].modality == "waveform" for name in names):
            reason, ways = "waveforms are not screened", {}
        plain = Candidate(backbone=backbone, views=names, image_px=sides[0])
        if not ways:
            yield plain.model_copy(update={"reason": reason}), RANDOM
        for weights, mode in ways.items():
            seen = {name: views[name] for name in names}
            told: dict[str, Any] = {"pretrained": mode, "weights": weights.name}
            for told["image_px"] in sides:
                try:
                    verdict = judge_start(
                        rulebook, backbone, mode, seen, image_px=told["image_px"], finder=finder
                    )
                except ConfigError as error:  # another side may suit it
                    told["reason"] = str(error)
                    continue
                told["legal"] = verdict.legal
                told["reason"] = "" if verdict.legal else verdict.sentence
                break
            yield plain.model_copy(update=told), weights


@contextmanager
def child_process() -> Iterator[ProcessPool]:
    """Yield the process that computes; another takes its place when it dies."""
    pool = ProcessPool(1, initializer=be_a_child, context=Spawning())
    with environment({**KEEP_MEMORY, **SLEEP_AT_BARRIERS}):
        with interrupts_held():
            pool.schedule(os.getpid)
        try:
            yield pool
            pool.close()
        except BaseException:  # Ctrl-C too: nothing may run on
            pool.stop()
            raise
        finally:
            pool.join()


def ask(child: ProcessPool, limit_s: float, what: Callable[..., T], *args: object) -> T | str:
    """Return what the child says, or why it says nothing.

    Raises:
        DiskFullError: it could not keep what it made.
        CacheError: the decoded data were changed or are gone.
    """
    try:
        said: T = child.schedule(what, args=args, timeout=limit_s).result()
        return said
    except (DiskFullError, CacheError):
        raise
    except WorkbenchError as error:
        return str(error)
    except FutureTimeoutError:
        return f"it took over {duration(limit_s)}"
    except MemoryError:
        return "too little memory for its pictures"
    except ProcessExpired as error:
        code = error.exitcode
        cause = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        if code == -signal.SIGKILL:
            cause += ", which the system sends when memory runs out"
        return f"its process died ({cause})"
