"""Two quick tasks made of formulas. A seed draws the landscape; a recipe's epochs follow from both.

What both have in common, for a recipe on backbone b:

    top      what it would score at best, an AUC; see each task
    y(t)     = 0.5 + (top - 0.5) s(t),  s(t) = (1 - (1 + t/tau)^-1) / (1 - (1 + T/tau)^-1)
    seen(t)  = y(t) + (e + e_t) sd / sqrt(2),  e and e_t normal, of the recipe and of each epoch
    sd       the standard deviation of an AUC of y(t) on 75 real and 75 fake files
             (Hanley and McNeil 1982, about 0.03 here)

The power law s ends at 1 after T epochs; a large tau is a slow learner. Twelve backbones cost 1 to
10 units an epoch (evenly by logarithm), dearer ones being slightly better on average. A backbone's
quality q is normal, the probe's word on it correlates by 0.72 (Spearman's 0.7). Of the optimum of
the learning rate (in powers of ten) an optimizer gives the mean, a backbone shifts it by 0.4 on
average, and a step away from it costs

    L(z) = 0.10 (1 - exp(-(z / 0.7)^2 / 2)).
"""

import hashlib
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from tests.benchmarks.search.tasks import Asked, Seen
from workbench.space.space import SampledConfig, Space
from workbench.validation import build

NUM_EPOCHS = 9
NUM_OF_EACH_CLASS = 75

BACKBONES = (
    "resnet18", "resnet34", "resnet50",
    "tf_efficientnet_b0", "tf_efficientnet_b1", "tf_efficientnet_b2",
    "convnext_atto", "convnext_nano",
    "regnety_002", "regnety_008",
    "mobilenetv3_small_100", "mobilenetv3_large_100",
)  # fmt: skip
"""Names with families, which the screening looks at; nothing of them is ever built."""

MEAN_LR = {"adamw": -3.3, "adam": -3.5, "sgd": -1.5}
"""Powers of ten."""

_USUAL = {"adamw": {"weight_decay": 1e-3}, "sgd": {"momentum": 0.9}}

FINE: dict[str, Any] = {
    "views": {"choice": [["mel"], ["mel", "frames"]]},
    "backbone": {"choice": list(BACKBONES)},
    "pretrained": "none",
    "num_epochs": NUM_EPOCHS,
    "batch_size": {"choice": [16, 32, 64]},
    "dropout": {"float": [0.0, 0.5]},
    "optimizer": {
        "choice": [
            {
                "kind": "adamw",
                "lr": {"float": [1e-5, 1e-2], "log": True},
                "weight_decay": {"float": [1e-5, 1e-1], "log": True},
            },
            {"kind": "adam", "lr": {"float": [1e-5, 1e-2], "log": True}},
            {
                "kind": "sgd",
                "lr": {"float": [1e-3, 1.0], "log": True},
                "momentum": {"float": [0.8, 0.99]},
            },
        ]
    },
    "loss": {
        "choice": [
            {"kind": "cross_entropy", "label_smoothing": {"float": [0.0, 0.2]}},
            {"kind": "focal", "gamma": {"float": [0.5, 4.0]}},
        ]
    },
    "augment": {
        "pictures": {
            "hflip": {"choice": [0.0, 0.5]},
            "crop_scale": {"float": [0.5, 1.0]},
            "rotation_deg": {"float": [0, 20]},
        },
        "mixup_alpha": {"choice": [0.0, 0.2]},
    },
}

CROSSING: dict[str, Any] = {
    "views": ["frames"],
    "backbone": {"choice": list(BACKBONES)},
    "pretrained": "none",
    "num_epochs": NUM_EPOCHS,
    "dropout": {"float": [0.0, 0.5]},
    "optimizer": {
        "choice": [
            {"kind": "adamw", "lr": {"float": [1e-5, 1e-2], "log": True}},
            {"kind": "sgd", "lr": {"float": [1e-3, 1.0], "log": True}},
        ]
    },
    "augment": {"pictures": {"crop_scale": {"float": [0.5, 1.0]}}},
}


@dataclass(frozen=True)
class Surrogate:
    """A task of formulas.

    `fine` has many small effects in a conditional space. With q, the optima marked by * and all
    signs and offsets drawn by the seed:

        top = 0.80 + 0.02 q + g [both views] + offset(optimizer) + offset(loss) - L(z)
              - 0.06 (dropout - dropout*_b)^2 - 0.004 (log10 decay - decay*)^2   (adamw)
              - 2 (momentum - momentum*)^2                                       (sgd)
              - 0.5 (smoothing - smoothing*)^2   or   - 0.003 (gamma - gamma*)^2
              - 0.08 (crop - crop*)^2 - 0.00005 (rotation - rotation*)^2
              +- 0.004 [hflip] +- 0.006 [mixup]
        z   = log10 lr - lr*(optimizer, b) - 0.3 log2(batch / 32)
        tau = 0.7 (1 + [sgd]) 10^(0.2 n_b)

    with g normal about 0.03; both views cost twice.

    In `crossing` the first epochs mislead: a third of the backbones are late (l = 1, others l even
    in [0, 0.3]), learn slowly and end higher, and so does a strong augmentation a = 2 (1 - crop):

        top = 0.80 + 0.02 q + 0.04 l + 0.03 a - L(z) - 0.06 (dropout - dropout*_b)^2
        z   = log10 lr - lr*(optimizer, b)
        tau = 0.5 * 8^l (1 + a) 10^(-0.3 z)
    """

    kind: Literal["fine", "crossing"]
    seed: int

    @property
    def name(self) -> str:
        return f"{self.kind} surrogate"

    @property
    def tree(self) -> dict[str, Any]:
        return FINE if self.kind == "fine" else CROSSING

    def seen(self, asked: Asked) -> Seen:
        top, tau = self._fine(asked) if self.kind == "fine" else self._crossing(asked)
        # Of the choices alone: a draft and its recipe are the same trial.
        said = repr(
            asked.model_dump(include=set(SampledConfig.model_fields) - {"views", "pretrained"})
        )
        name = f"{self.seed} {tuple(asked.views)} {said}"
        rng = np.random.default_rng(list(hashlib.sha256(name.encode()).digest()))
        own = rng.standard_normal()
        observed, worth = [], []
        for epoch in range(1, NUM_EPOCHS + 1):
            share = (1 - 1 / (1 + epoch / tau)) / (1 - 1 / (1 + NUM_EPOCHS / tau))
            y = min(0.995, 0.5 + (max(top, 0.5) - 0.5) * share)
            noise = (own + rng.standard_normal()) / math.sqrt(2) * _sd(y)
            worth.append(y)
            observed.append(float(min(1.0, max(0.0, y + noise))))
        return Seen(tuple(observed), tuple(worth))

    def cost(self, asked: Asked) -> float:
        return self._drawn.cost[BACKBONES.index(asked.backbone)] * len(asked.views)

    def probe(self, backbone: str, views: tuple[str, ...]) -> float:
        both = 0.02 if len(views) > 1 else 0.0
        return 0.6 + both + 0.03 * self._drawn.probe[BACKBONES.index(backbone)]

    def screening_cost(self) -> float:
        # A view's features are computed once, whatever sets it is in.
        num_views = 2 if self.kind == "fine" else 1
        return num_views * sum(self._drawn.cost) / 3

    def known(self) -> list[SampledConfig]:
        """Return a recipe for each optimizer, as people hand them on.

        A backbone by chance, the usual learning rate give or take, and the rest moderate.
        """
        rng = np.random.default_rng((self.seed, 2))
        moderate = self._space.at({"dropout": 0.1, "augment.pictures.crop_scale": 0.9})
        drafts: list[SampledConfig] = []
        for option in self.tree["optimizer"]["choice"]:
            kind = option["kind"]
            rate = float(10 ** (MEAN_LR[kind] + 0.3 * rng.standard_normal()))
            said = {
                "views": self._space.view_sets()[-1],
                "backbone": str(rng.choice(BACKBONES)),
                "optimizer": {"kind": kind, "lr": rate, **_USUAL.get(kind, {})},
            }
            tree = {**moderate.model_dump(), **said}
            drafts.append(build(SampledConfig, tree, where=self.name))
        return drafts

    @cached_property
    def _space(self) -> Space:
        return Space(file=self.name, tree=self.tree)

    @cached_property
    def _drawn(self) -> "_Drawn":
        return _Drawn(self.seed)

    def _fine(self, asked: Asked) -> tuple[float, float]:
        d, b = self._drawn, BACKBONES.index(asked.backbone)
        optimizer, loss, pictures = asked.optimizer, asked.loss, asked.augment.pictures
        z = d.off_rate(optimizer.kind, optimizer.lr, b) - 0.3 * math.log2(asked.batch_size / 32)
        top = 0.80 + 0.02 * d.quality[b] + d.gain_of_both * (len(asked.views) > 1)
        top += d.offset[optimizer.kind] + d.offset[loss.kind] - _off(z)
        top -= 0.06 * (asked.dropout - d.dropout[b]) ** 2
        if optimizer.kind == "adamw":
            top -= 0.004 * (math.log10(optimizer.weight_decay) - d.decay) ** 2
        if optimizer.kind == "sgd":
            top -= 2 * (optimizer.momentum - d.momentum) ** 2
        if loss.kind == "cross_entropy":
            top -= 0.5 * (loss.label_smoothing - d.smoothing) ** 2
        if loss.kind == "focal":
            top -= 0.003 * (loss.gamma - d.gamma) ** 2
        top -= 0.08 * (pictures.crop_scale - d.crop) ** 2
        top -= 0.00005 * (pictures.rotation_deg - d.rotation) ** 2
        top += d.hflip * (pictures.hflip > 0) + d.mixup * (asked.augment.mixup_alpha > 0)
        return top, 0.7 * (1 + (optimizer.kind == "sgd")) * 10 ** (0.2 * d.slow[b])

    def _crossing(self, asked: Asked) -> tuple[float, float]:
        d, b = self._drawn, BACKBONES.index(asked.backbone)
        z = d.off_rate(asked.optimizer.kind, asked.optimizer.lr, b)
        strength = 2 * (1 - asked.augment.pictures.crop_scale)
        top = 0.80 + 0.02 * d.quality[b] + 0.04 * d.late[b] + 0.03 * strength - _off(z)
        top -= 0.06 * (asked.dropout - d.dropout[b]) ** 2
        return top, 0.5 * 8 ** d.late[b] * (1 + strength) * 10 ** (-0.3 * z)


class _Drawn:
    """What a seed draws of a landscape."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng((seed, 1))
        num = len(BACKBONES)
        normal = rng.standard_normal
        self.quality = normal(num).tolist()
        own = 0.717
        mixed = own * np.asarray(self.quality) + math.sqrt(1 - own**2) * normal(num)
        self.probe: list[float] = mixed.tolist()
        place = np.argsort(np.argsort(0.3 * np.asarray(self.quality) + normal(num)))
        self.cost: list[float] = (10 ** (place / (num - 1))).tolist()
        self.shift = (0.4 * normal(num)).tolist()
        self.dropout = rng.uniform(0, 0.5, num).tolist()
        self.slow = normal(num).tolist()
        late = rng.permutation(num) < num // 3
        self.late = np.where(late, 1.0, rng.uniform(0, 0.3, num)).tolist()
        self.gain_of_both = float(rng.normal(0.03, 0.01))
        kinds = (*MEAN_LR, "cross_entropy", "focal")
        self.offset = {kind: float(rng.normal(0, 0.006)) for kind in kinds}
        self.decay, self.momentum = float(rng.normal(-3, 0.7)), float(rng.uniform(0.85, 0.97))
        self.smoothing, self.gamma = float(rng.uniform(0, 0.15)), float(rng.uniform(1, 3))
        self.crop, self.rotation = float(rng.uniform(0.5, 1)), float(rng.uniform(0, 20))
        self.hflip, self.mixup = (float(x) for x in rng.choice([-1, 1], 2) * (0.004, 0.006))

    def off_rate(self, optimizer: str, lr: float, backbone: int) -> float:
        """Return how far a learning rate is from its optimum, in powers of ten."""
        return math.log10(lr) - MEAN_LR[optimizer] - float(self.shift[backbone])


def _off(z: float) -> float:
    return 0.10 * (1 - math.exp(-((z / 0.7) ** 2) / 2))


def _sd(value: float) -> float:
    """Return the standard deviation of an AUC of `value`: Hanley and McNeil 1982."""
    one, two = value / (2 - value), 2 * value**2 / (1 + value)
    n = NUM_OF_EACH_CLASS
    variance = value * (1 - value) + (n - 1) * (one + two - 2 * value**2)
    return math.sqrt(variance) / n
