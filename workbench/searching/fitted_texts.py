"""The texts of an experiment and a search space that fit a data folder and a machine."""

import shlex
import textwrap
from dataclasses import dataclass

import yaml

from workbench.console import visible
from workbench.data.inspection import Inspection
from workbench.data.media_kinds import MediaKind

SMALL = (
    "tf_efficientnet_lite0",
    "tf_efficientnet_lite1",
    "mobilenetv2_100",
    "resnet18.a1_in1k",
)
"""Backbones that a CPU trains in minutes: 3 to 11 million parameters."""

LARGER = ("efficientnet_b0.ra_in1k", "seresnet50.ra2_in1k", "convnext_tiny.fb_in1k")
"""Those that a GPU is for, beside the small ones: 4 to 28 million parameters."""

FEW_FILES, MANY_FILES = 64, 2_000
"""Labelled files under which batches are small, and over which epochs are few."""

PLENTY_GIB = 20


@dataclass(frozen=True)
class Machine:
    """What a search would run on."""

    called: str
    """For a person: `2 CPU cores` or the name of a GPU."""

    is_gpu: bool
    memory_gib: float
    """Of the GPU, or of the machine."""

    at_hand: tuple[str, ...]
    """Backbones of `SMALL` and `LARGER` whose weights are here without a network."""

    @property
    def sentence(self) -> str:
        """The same for a person."""
        here = ", ".join(self.at_hand) or "none, so a search downloads them or starts from random"
        return f"machine: {self.called}, {self.memory_gib:.0f} GiB; weights at hand: {here}"


def experiment_text(found: Inspection, machine: Machine, name: str, data: str) -> str:
    """Return an experiment file; `data` is the data folder as a command names it."""
    about = "\n".join(f"#   {line}" for text in found.lines() for line in _wrapped(text))
    data = visible(shlex.quote(data))
    return f"""\
# What a study of {data} is about. This is how the folder was understood:
#
{about}
#
# Correct here what is wrong, then:
#
#     workbench search experiments/{name}.yaml --data {data} --trials {trials_for(machine)}

name: "{name}"

{_data(found)}{_validation(found)}# What is made of each file, once, and what a model may read.
views:
{_views(found, machine)}

rulebook:                    # what the best model must obey: change it to your rules
  max_params: 200M
  counter: larger            # of thop's count and the true one
  pretraining: [in1k]        # what the starting weights may have seen
  single_model: module

search_space: ../search_spaces/{name}.yaml
# The worst of val and of each generator's fakes against all reals, where a column says which made
# them; without one it is val.
objective: {{metric: auc, over: [val, generators], aggregate: worst}}
pruning: {{kind: halving, warmup_epochs: 1}}   # the best half of the first epochs goes on
"""


def space_text(found: Inspection, machine: Machine, name: str) -> str:
    """Return a search space file; see `experiment_text`."""
    chosen, others = _backbones(machine)
    lacking = f"# Weights of others are not here: {', '.join(others)}.\n" if others else ""
    is_here = bool(chosen) and set(chosen) <= set(machine.at_hand)
    where = "whose weights are on this machine" if is_here else "to be downloaded"
    return f"""\
# What a trial of experiments/{name}.yaml may choose, for {visible(machine.called)} with
# {machine.memory_gib:.0f} GiB and {found.num_labelled} labelled files. A leaf is a value or a draw:
# {{choice: [a, b]}}, {{float: [low, high], log: true}}, {{int: [low, high]}}.
# search_spaces/everything.yaml, shipped with the program, has all that a space may say.

views: {_view_sets(found)}
# Backbones {where}. `workbench backbones` ranks more of them.
{lacking}backbone: {{choice: [{", ".join(chosen)}]}}
pretrained: auto             # local weights, else the hub, else random ones: it says which
image_px: {{choice: {_sizes(found, machine)}}}
num_epochs: {_epochs(found)}
batch_size: {{choice: {_batches(found, machine)}}}
dropout: {{float: [0.0, 0.3]}}
sampling: {{balanced: {{choice: [false, true]}}}}

optimizer:
  choice:
    - {{kind: adamw, lr: {{float: [1e-4, 2e-3], log: true}}, weight_decay: 0.01}}
    - {{kind: adam, lr: {{float: [1e-4, 2e-3], log: true}}}}
    - {{kind: sgd, lr: {{float: [3e-3, 3e-2], log: true}}, weight_decay: 1e-4}}
schedule:
  choice:
    - {{kind: cosine, warmup_share: 0.1}}
    - {{kind: step, step_epochs: 1, gamma: 0.5}}
loss:
  choice:
    - {{kind: cross_entropy, label_smoothing: {{float: [0.0, 0.1]}}}}
    - {{kind: focal, gamma: {{float: [1.0, 3.0]}}}}

augment:
{_augment(found)}  mixup_alpha: {{choice: [0.0, 0.2]}}
"""


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(visible(text), 94, subsequent_indent="  ", break_on_hyphens=False)


def trials_for(machine: Machine) -> int:
    """Return how many trials to begin with."""
    return 50 if machine.is_gpu else 20


def _data(found: Inspection) -> str:
    """Return the lines of `data`; none where the folder is laid out as the competition's."""
    layout = found.layout
    tree = layout.model_dump(mode="json", include=layout.model_fields_set, exclude_none=True)
    tree = {key: _short(value) for key, value in tree.items()}
    tree = {key: value for key, value in tree.items() if value != {}}
    if not tree:
        return ""
    inner = yaml.safe_dump(tree, sort_keys=False, allow_unicode=True, default_flow_style=None)
    lines = "".join(f"  {line}\n" for line in inner.splitlines())
    return f"data:                        # where things are, and what they are called\n{lines}\n"


def _short(value: object) -> object:
    """Return a value as it is written: without the keys of a mapping that say nothing.

    A column may have no name, as that of the index of a table that pandas wrote.
    """
    if isinstance(value, dict):
        return {key: inner for key, inner in value.items() if inner or inner == ""}
    return value


def _validation(found: Inspection) -> str:
    kind = found.validation.kind
    if kind == "given":
        return ""
    by = "all files of a group in one" if kind == "group" else "as many of a class in each"
    return (
        f"# The data has no val: its labelled files are dealt into parts, {by}; one is val.\n"
        "# `use: 3` would train each trial three times, and measure it on three of them.\n"
        f"validation: {{kind: {kind}, folds: {found.validation.folds}}}\n\n"
    )


def _media(found: Inspection) -> set[MediaKind]:
    return set(found.kinds)


def _views(found: Inspection, machine: Machine) -> str:
    media, lines = _media(found), []
    if media & {"sound", "video"}:
        lines.append("  mel: {kind: mel}           # the mel picture of the sound, 256 x 256")
    if media == {"sound"}:
        lines.append("  logspec: {kind: logspec}   # its spectrum on an even scale")
    if "video" in media:
        frames, px = (8, 224) if machine.is_gpu else (2, 192)
        lines.append(f"  frames: {{kind: frames, num_frames: {frames}, image_px: {px}}}")
    if "picture" in media:
        lines.append(f"  image: {{kind: image, image_px: {256 if machine.is_gpu else 192}}}")
    return "\n".join(lines)


def _view_sets(found: Inspection) -> str:
    media = _media(found)
    if media == {"sound"}:
        return "{choice: [[mel], [logspec]]}"
    if media == {"video"}:
        return "{choice: [[mel, frames], [frames], [mel]]}"
    if media == {"picture"}:
        return "[image]"
    # Files of several kinds: a model reads of each what it has.
    names = [("mel", {"sound", "video"}), ("frames", {"video"}), ("image", {"picture"})]
    return f"[{', '.join(view for view, kinds in names if media & kinds)}]"


def _backbones(machine: Machine) -> tuple[list[str], list[str]]:
    """Return the backbones that a space offers, and those whose weights are not here."""
    fitting = [*SMALL, *(LARGER if machine.is_gpu else ())]
    here = [name for name in fitting if name in machine.at_hand]
    if not here:
        return fitting if machine.is_gpu else fitting[:2], []
    return here, [name for name in fitting if name not in here]


def _sizes(found: Inspection, machine: Machine) -> str:
    if machine.is_gpu:
        return "[160, 224]"
    return "[128, 160]" if "picture" in _media(found) else "[112, 128]"


def _epochs(found: Inspection) -> str:
    return "3" if found.num_labelled > MANY_FILES else "{choice: [3, 6]}"


def _batches(found: Inspection, machine: Machine) -> str:
    if found.num_labelled < FEW_FILES:
        return "[4, 8]"
    if machine.is_gpu and machine.memory_gib > PLENTY_GIB:
        return "[32, 64]"
    return "[16, 32]"


def _augment(found: Inspection) -> str:
    media, text = _media(found), ""
    if media & {"picture", "video"}:
        text += """\
  pictures:
    hflip: 0.5
    rotation_deg: {float: [0, 10]}
    crop_scale: {float: [0.7, 1.0]}
    brightness: {float: [0.0, 0.3]}
    blur: {choice: [0.0, 0.1]}             # damage on the way, which detectors must survive
    noise: {choice: [0.0, 0.1]}
    jpeg: {choice: [0.0, 0.3]}
    jpeg_quality: {int: [40, 90]}
"""
    if media & {"sound", "video"}:
        text += """\
  spectrograms:              # a sound has no other way round: no flips
    crop_scale: {float: [0.8, 1.0]}
    time_mask: {float: [0.0, 0.2]}
    frequency_mask: {float: [0.0, 0.2]}
"""
    return text
