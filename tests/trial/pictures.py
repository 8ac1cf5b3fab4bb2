"""Red and blue pictures, prepared for trials: red is real, blue is fake."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Pillow

from workbench.data.manifest import Layout, read_manifest
from workbench.data.prepare import Prepared, prepare
from workbench.files import write_text
from workbench.media.image import Image
from workbench.parts.optimizers import AdamW
from workbench.parts.weights import RANDOM
from workbench.trial.recipe import Recipe

SIZES = {"train": 14, "val": 8, "test": 5}
BACKBONE = "test_efficientnet"
"""timm's smallest; 0.4 million parameters."""


def prepare_pictures(root: Path, *, view: Image | None = None) -> Prepared:
    """Write noisy red and blue PNGs of 32 x 32 and one broken training file; decode them."""
    data = root / "data"
    rng = np.random.default_rng(0)
    for split, size in SIZES.items():
        media = data / f"{split}set"
        media.mkdir(parents=True)
        names = [f"{split}{index}.png" for index in range(size)]
        for index, name in enumerate(names):
            pixels = rng.integers(0, 120, (32, 32, 3), dtype=np.uint8)
            pixels[..., 2 * (index % 2)] += 120
            Pillow.fromarray(pixels).save(media / name)
        if split == "train":
            (media / "broken.png").write_text("no picture")
            names.append("broken.png")
        rows = [f"{name},{index % 2}" for index, name in enumerate(names)]
        write_text(data / f"{split}_label.txt", "\n".join(["img_name,target", *rows]) + "\n")
    rows = [f"test{index}.png,0.5" for index in range(SIZES["test"])]
    write_text(data / "prediction.csv", "\n".join(["img_name,y_pred", *rows]) + "\n")
    manifest = read_manifest(data, Layout(), cache=root / "cache")
    views = {"image": view or Image(image_px=32)}
    return prepare(manifest, data, views, cache=root / "cache", jobs=1)


def recipe_for(prepared: Prepared, **changes: Any) -> Recipe:
    """Return a recipe that learns red from blue within two epochs, with `changes`."""
    fields: dict[str, Any] = {
        "data": prepared.fingerprint,
        "views": {"image": Image(image_px=32)},
        "backbone": BACKBONE,
        "weights": RANDOM,
        "image_px": 32,
        "optimizer": AdamW(lr=5e-3),
        "batch_size": 4,
        "num_epochs": 3,
    }
    return Recipe.model_validate({**fields, **changes})
