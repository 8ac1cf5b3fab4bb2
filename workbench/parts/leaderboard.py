"""Published figures of timm's models as one table: accuracy, shift, size and speed."""

import csv
import re
from functools import cache
from pathlib import Path

from workbench.errors import ConfigError
from workbench.parts.pretraining import Saw, saw
from workbench.values import Frozen

LEADERBOARD_TABLE = Path(__file__).with_name("leaderboard.csv")
"""Made by `python -m workbench.parts.leaderboard_making`."""

COLUMNS = (
    "model", "image_px", "params_m", "gmacs", "macts", "imagenet", "imagenet_v2", "real", "sketch",
    "imagenet_a", "imagenet_a_clean", "imagenet_r", "imagenet_r_clean",
    "train_per_s", "infer_per_s", "cpu_infer_per_s",
)  # fmt: skip

SPEEDS = (
    "Images a second: training on an RTX 3090 (mixed precision, PyTorch 1.12), inference on an "
    "RTX 4090 (mixed precision, PyTorch 2.9) and on one i9-10940X (32 bits, PyTorch 2.4)."
)

BATCH = 32
KEPT = 2.0
"""Values that training keeps for its way back, for each published activation.

Published are the outputs of convolutions, linear layers and products; others are kept too. Of the
tensors that autograd saves in 60 architectures, 2.0 is the median; eight in ten lie from 1.5 to
3.2, EVA-02 at 1.4, EfficientNet at 3.3, DenseNet, the most, at 4.7."""

# Words before a family's name: who trained it or rebuilt it, or a block that was added.
_BEFORE = frozenset({"tf", "dm", "nf", "eca", "ese", "gc", "legacy", "bat", "lambda", "test"})
# First words that are no family without the next.
_COMPOUND = frozenset({"tiny_vit", "inception_next", "inception_resnet", "wide_resnet"})


class Row(Frozen):
    """The published figures of one model's weights at one image size; accuracies in percent."""

    model: str
    """timm's name and tag."""

    image_px: int
    params_m: float
    """Millions of parameters, with a head of 1,000 classes."""

    gmacs: float | None
    """Billions of multiplications for one image."""

    macts: float | None
    """Millions of activations for one image."""

    imagenet: float | None
    imagenet_v2: float | None
    real: float | None
    sketch: float | None
    imagenet_a: float | None
    imagenet_a_clean: float | None
    """On ImageNet's own images of the 200 classes that ImageNet-A has; -R alike."""

    imagenet_r: float | None
    imagenet_r_clean: float | None
    train_per_s: float | None
    infer_per_s: float | None
    cpu_infer_per_s: float | None

    @property
    def tag(self) -> str:
        """What timm calls the weights."""
        return self.model.partition(".")[2]

    @property
    def gap_a(self) -> float | None:
        """Points lost from clean images to ImageNet-A's."""
        return _less(self.imagenet_a_clean, self.imagenet_a)

    @property
    def gap_r(self) -> float | None:
        """Points lost from clean images to ImageNet-R's."""
        return _less(self.imagenet_r_clean, self.imagenet_r)

    @property
    def saw(self) -> Saw:
        """What the weights saw."""
        return saw(self.model.partition(".")[0], self.tag)

    @property
    def family(self) -> str:
        """The family of the architecture; see `family_of`."""
        return family_of(self.model)

    def memory_bytes(self, batch_size: int = BATCH) -> int | None:
        """Estimate what a training step needs, in bytes, with AdamW in 32 bits.

        16 bytes a parameter (weight, gradient and two moments), and `KEPT` values of 4 bytes for
        each published activation of each image in the batch.
        """
        if self.macts is None:
            return None
        kept = batch_size * self.macts * 1e6 * KEPT * 4
        return round(self.params_m * 1e6 * 16 + kept)


class Table(Frozen):
    """All rows, and where they are from."""

    source: str
    rows: tuple[Row, ...]


@cache
def read_table(path: Path = LEADERBOARD_TABLE) -> Table:
    """Return the table of published figures.

    Raises:
        ConfigError: the file is not as `leaderboard_making` writes it.
    """
    with path.open(encoding="utf-8", newline="") as file:
        source = file.readline()
        reader = csv.DictReader(file)
        if not source.startswith("# ") or tuple(reader.fieldnames or ()) != COLUMNS:
            raise ConfigError(
                f"{path} is no table of figures. Make it anew by "
                "`python -m workbench.parts.leaderboard_making`."
            )
        rows = [Row.model_validate({k: v or None for k, v in row.items()}) for row in reader]
    return Table(source=source.removeprefix("# ").strip(), rows=tuple(rows))


def family_of(model: str) -> str:
    """Return the family of a timm model: the first word of its name, without version and size.

    `convnextv2_tiny` is a `convnext`, `resnet50d` a `resnet`, `tf_efficientnet_b0` an
    `efficientnet`. A number that starts with 0 belongs to the name (`eva02`), and so does what
    was added to a block (`seresnet`, `regnety`).
    """
    words = model.partition(".")[0].split("_")
    while len(words) > 1 and words[0] in _BEFORE:
        words = words[1:]
    for length in (2, 1):
        name = "_".join(words[:length])
        name = re.sub(r"(?<=[a-z])v\d+[a-z]?$", "", name)
        # A size is one digit at the end, or more with few letters (50, 26ts, 102x2).
        name = re.sub(r"(?<=[a-z])(?:[1-9]|[1-9]\d+(?:x\d+|[a-z]{0,3}))$", "", name)
        if length == 1 or name in _COMPOUND:
            break
    return name


def _less(clean: float | None, shifted: float | None) -> float | None:
    return None if clean is None or shifted is None else round(clean - shifted, 3)
