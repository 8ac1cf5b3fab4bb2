"""The texts of a bundle that people and installers read."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import packages_distributions, version

from workbench.console import visible
from workbench.errors import BundleError
from workbench.parts.model_spec import ModelSpec
from workbench.parts.pack_spec import PackSpec, members_of
from workbench.parts.per_view import apply, label_of
from workbench.parts.pretrained import is_published
from workbench.parts.pretraining import saw_by
from workbench.parts.weights import Weights
from workbench.rules.rulebook import Verdict
from workbench.selection.champion import Champion, folds_told
from workbench.study.refits import RefitRecord
from workbench.submission.contents import Temperature
from workbench.submission.markdown import as_cell, as_code, as_text
from workbench.submission.neutral import Neutral
from workbench.submission.places import CALIBRATION


@dataclass(frozen=True)
class ScoringTimes:
    """What scoring took of a file, in milliseconds, from its stored views on, where trained."""

    whole: float | None
    """Of the model; unknown of older versions."""

    of_members: tuple[float | None, ...] = ()
    """Of each member of a pack; empty of another model."""


def calibrated_by(temperature: Temperature | None, refit: RefitRecord | None) -> str:
    """Return by what the scores are divided, in sentences; nothing where they are not."""
    if temperature is None:
        return ""
    said = (
        f"The logit of every score is divided by {temperature.temperature}, the temperature by "
        f"which the log-loss on the {temperature.num_files} files of {temperature.slice} is least; "
        f"`{CALIBRATION}` holds it. It changes no order of files. "
        "Each log-loss that is told of the model is of its scores before that."
    )
    if refit:
        said += (
            f" It is that of the scores of {refit.champion}, not of the refit's own: the refit was "
            "trained on those files, and none is left to fit one on."
        )
    return said


def installed_versions(libraries: Iterable[str]) -> dict[str, str]:
    """Return the installed version of each package that imports of `libraries` load.

    Local parts such as `+cpu` are left out: a package index knows versions without them, and
    installers accept a local build in their place.

    Raises:
        BundleError: a library is not installed as a package, so nothing could install it again.
    """
    packages = packages_distributions()
    names: set[str] = set()
    for library in sorted(libraries):
        if library not in packages:
            raise BundleError(
                f"The bundle's code imports {library}, which no installed package provides. "
                "Install it, so that the bundle can say which version it needs."
            )
        names.update(packages[library])
    return {name: version(name).partition("+")[0] for name in sorted(names, key=str.lower)}


def requirements(versions: Mapping[str, str]) -> str:
    """Return a requirements file."""
    return "".join(f"{name}=={number}\n" for name, number in versions.items())


def readme(
    champion: Champion,
    spec: ModelSpec | PackSpec,
    *,
    verdict: Verdict,
    columns: tuple[str, str],
    num_rows: int,
    neutral: Neutral,
    device: str,
    calibrated: str,
    refit: RefitRecord | None,
    wheel: str,
    first: Mapping[str, float],
    times: ScoringTimes,
    plugins: Mapping[str, str],
) -> str:
    """Return what a stranger needs to know of a bundle.

    Args:
        champion: The promoted trial.
        spec: Of its model.
        verdict: What the rulebook says of the model.
        columns: Name and score column of the template.
        num_rows: Rows of the predictions.
        neutral: The test files that got a neutral score.
        device: What the predictions were computed on, if that is known.
        calibrated: By what the scores are divided, in sentences; empty if by nothing.
        refit: What is exported in the champion's place, if that is its refit.
        wheel: The file that installs the program for `train.py`; empty if the bundle has none.
        first: Some names with their scores, to compare with.
        times: What scoring took.
        plugins: Backbones of the user's own, by the file of the bundle that brings them.
    """
    objective = champion.objective
    views = ", ".join(f"{name} {view.shape}" for name, view in spec.views.items())
    expected = "\n".join(f"| {as_cell(name)} | {value:.6f} |" for name, value in first.items())
    rules = "\n".join(
        f"| {said.name} | {visible(said.sentence).replace('|', '/')} |" for said in verdict.results
    )
    thop = "cannot count it" if verdict.params_thop is None else f"{verdict.params_thop:,}"
    is_pack = isinstance(spec, PackSpec)
    kind = "soup" if champion.is_soup else "pack" if is_pack else "recipe"
    specs = members_of(spec)
    members = "\n".join(
        _member(one, time, is_one_of_many=is_pack)
        for one, time in zip(specs, times.of_members or [None] * len(specs), strict=True)
    )
    members += "".join(f"\n| {own}, of its user's own | {file} |" for file, own in plugins.items())
    told_of_neutral = [as_text(neutral.sentence), "", *map(as_text, neutral.lines)]
    unseen = "\n\n" + "\n".join(told_of_neutral) if neutral.files else ""
    told = folds_told(champion.num_folds, is_refit=refit is not None)
    worth = (as_text(champion.unseen), told, as_text(" ".join(_worth(champion))))
    said_of_worth = " ".join(filter(None, worth))
    said_of_scores = f"\n\n{calibrated}" if calibrated else ""
    said_of_refit = f"\n\n{' '.join(refit.lines(champion.study))}" if refit else ""
    return f"""\
# {champion.study}: {champion.title}

One model that tells real media from fake ones, exported with all that is needed to run it again:
its predictions, weights, recipe and code.

## Run it

    pip install -r requirements.txt
    python predict.py clip.mp4 other.mp4 --out ../scores.csv
    python predict.py --template TEMPLATE.csv --media TESTSET --out ../filled.csv

The second form makes `predictions.csv` again from the test media. From a program, in this folder:

    from predict import predict
    predict("clip.mp4")  # the probability that it is fake, 0 to 1

In a container, the second line in the folder of the media (the Dockerfile says how on a GPU):

    docker build -t bundle .
    docker run --rm --network none -v "$PWD:/media" -w /media bundle \\
        predict clip.mp4 --out scores.csv

A file that is empty or broken, or that takes over five minutes or 4 GiB of memory to decode, gets
a score too, as does one that the template names and that is missing: a neutral picture stands for
it. Such files are counted and named in the end. Nothing is downloaded at run time.

This is a program: run it only if you trust who made it. `manifest.json` holds the SHA-256 of every
other file; `workbench predict` checks them first, which shows that the folder is whole, not that
its author means well. Nothing may be added to the folder, so `--out` names a file outside of it.
`workbench verify` runs it over the whole test set in a clean environment and compares the scores.

## What to expect

`predictions.csv` has {num_rows} rows, columns {as_code(columns[0])} and {as_code(columns[1])}.
Among them:

| {as_cell(columns[0])} | {as_cell(columns[1])} |
| --- | --- |
{expected}

{_tolerance_told(device)} On {objective.place} {refit.champion if refit else "the model"} reached
{objective.metric} {champion.value:.5f}. {said_of_worth}{said_of_scores}{said_of_refit}{unseen}
{_training_told(wheel)}
## The rulebook

{verdict.sentence}

| rule | what it says |
| --- | --- |
{rules}

| what | value |
| --- | --- |
{members}
| views | {views} |
| parameters as {verdict.counted_by} counts them | {thop} |
| parameters truly | {verdict.params_true:,} |{_time(times.whole, "all of it")}
| {kind} | {refit.recipe if refit else champion.recipe} |
{_starts_told(specs)}"""


def _worth(champion: Champion) -> Sequence[str]:
    """Return what the value is worth on new data; else how it was chosen, which flatters it."""
    if champion.expected:
        return champion.expected.lines
    return [champion.pack.sentence if champion.pack else champion.why]


def _tolerance_told(device: str) -> str:
    if device in ("", "cpu"):
        return "The same files give the same scores to 1e-5 on a CPU, and to 1e-3 on a GPU."
    return f"They were computed on {visible(device)}; the same files give the same scores to 1e-3."


def _training_told(wheel: str) -> str:
    """Return the section on training again; empty where the bundle cannot say how."""
    if not wheel:
        return ""
    return f"""
## Train it again

    pip install ./{wheel}
    python train.py --data DIR --out ../retrained

trains every model of this bundle from scratch, from the same starting weights, and holds it against
this one: to the bit on a CPU of the same kind with the same threads and versions, else within a
tolerance that it states. `TECHNICAL_REPORT.md` says how it was trained and chosen.
"""


def _member(spec: ModelSpec, time: float | None, *, is_one_of_many: bool) -> str:
    """Return the rows that say what a model is and starts from, and a member's time."""
    backbone = spec.backbone_label
    backbone += ", one for each view" if isinstance(spec.backbone, str) else ""
    start = label_of(apply(_start, spec.weights))
    if is_one_of_many:
        backbone += f" ({' + '.join(spec.views)}, {spec.image_px} px)"
    return f"| backbone | {backbone} |\n| starts from | {start} |{_time(time, 'this member')}"


def _time(ms_per_file: float | None, of_what: str) -> str:
    """Return the row that says how long scoring took, after a line break; empty if unknown."""
    if ms_per_file is None:
        return ""
    return f"\n| ms a file, from its views on, {of_what} | {ms_per_file:.1f} |"


def _start(weights: Weights) -> str:
    if weights.source == "none":
        return "random weights"
    label, sha256 = saw_by(weights).label, weights.sha256 or "unknown"
    told = f"{weights.name}, pretraining {label}, SHA-256 {sha256}"
    return f"{told}, as timm publishes it" if is_published(weights) else told


def _starts_told(specs: Iterable[ModelSpec]) -> str:
    """Return what shows which weights a model starts from; empty if timm's table does."""
    starts = [one for spec in specs for one in spec.weights_of.values() if one.source != "none"]
    if all(map(is_published, starts)):
        return ""
    return """
What the starting weights were pretrained on is known from the name of their file alone. To see that
it is the published file of that name, compare the SHA-256 of that one with the one above.
"""


_LAUNCHER = r"""RUN printf '#!/bin/sh\nexec python {options}/bundle/{program} "$@"\n' \
        > /usr/local/bin/{name} \
    && chmod 755 /usr/local/bin/{name}
"""


def dockerfile(training: str = "") -> str:
    """Return a Dockerfile of the present Python with the commands `predict` and `train`.

    All that is downloaded is downloaded while the image is built.

    Args:
        training: What pip installs, beside the requirements of prediction, for `train.py`; if
            empty, the bundle has no such program, and the image no command `train`.
    """
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    train = train_usage = ""
    if training:
        train_usage = (
            '#   docker run --rm --network none -v "$PWD:/data:ro" -v "$PWD-retrained:/out" \\\n'
            "#       bundle train --data /data --out /out/retrained\n"
        )
        train = f"RUN python -m pip install -c requirements.txt {training}\n" + _LAUNCHER.format(
            options="", program="train.py", name="train"
        )
    return f"""\
#   docker build -t bundle .
#   docker run --rm --network none -v "$PWD:/media" -w /media bundle \\
#       predict clip.mp4 --out scores.csv
{train_usage}#
# On a GPU: add `--gpus all` to `docker run`, and `--device cuda` after `predict`. The torch of the
# Python package index brings CUDA along. To take it from the image instead, name one that has
# CUDA, Python {python} and pip:    docker build --build-arg BASE=IMAGE -t bundle .
# A smaller image, for CPUs alone:
#   docker build --build-arg PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu -t bundle .
ARG BASE=python:{python}-slim
FROM ${{BASE}}
ARG PIP_EXTRA_INDEX_URL
ENV PIP_BREAK_SYSTEM_PACKAGES=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
ENV PYTHONDONTWRITEBYTECODE=1 HF_HUB_OFFLINE=1
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
WORKDIR /bundle
COPY requirements.txt .
RUN python -m pip install -r requirements.txt
COPY . .
{_LAUNCHER.format(options="-I -B ", program="predict.py", name="predict")}{train}\
CMD ["predict", "--help"]
"""
