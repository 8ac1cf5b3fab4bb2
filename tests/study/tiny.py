"""A tiny image task and a tiny search, for tests of studies: a trial takes under a second."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml

NUM_FILES = {"train": 24, "val": 16, "test": 8}

SPACE: dict[str, Any] = {
    "views": ["image"],
    "backbone": {"choice": ["test_resnet", "test_efficientnet"]},
    "pretrained": "none",
    "image_px": 32,
    "num_epochs": 2,
    "precision": "float32",
    "batch_size": 8,
    "optimizer": {"kind": "adamw", "lr": {"float": [1e-4, 1e-2], "log": True}},
}
"""Endless: the learning rate is drawn from a range."""

THREE = {**SPACE, "backbone": "test_resnet", "dropout": {"choice": [0.0, 0.1, 0.2]}} | {
    "optimizer": {"kind": "adamw", "lr": 1e-3}
}
"""Holds three recipes."""


def write_data(folder: Path, *, seed: int = 0) -> Path:
    """Make pictures of 32 x 32: noise, a little red if fake and a little blue if real."""
    rng = np.random.default_rng(seed)
    for split, number in NUM_FILES.items():
        (folder / f"{split}set").mkdir(parents=True)
        rows = []
        for index in range(number):
            picture = rng.integers(60, 160, (32, 32, 3))
            picture[..., 2 if index % 2 else 0] += 40  # OpenCV's order is blue, green, red
            name = f"{split}{index}.{'jpg' if index % 3 else 'png'}"
            assert cv2.imwrite(str(folder / f"{split}set" / name), picture.astype(np.uint8))
            rows.append(f"{name},{index % 2 if split != 'test' else 0.5}")
        header = "img_name,target" if split != "test" else "img_name,y_pred"
        file = f"{split}_label.txt" if split != "test" else "prediction.txt.csv"
        (folder / file).write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return folder


def write_experiment(
    folder: Path, space: dict[str, Any] = SPACE, *, name: str = "tiny", **keys: Any
) -> Path:
    """Write `experiments/NAME.yaml` and its search space below `folder`; return the experiment."""
    tree = {
        "name": name,
        "views": {"image": {"kind": "image", "image_px": 32}},
        "search_space": f"../search_spaces/{name}.yaml",
        "pruning": {"kind": "none"},
        # A search promotes a trial: sixteen files tell nothing of packs, and choosing one costs.
        "rulebook": {"single_model": "backbone"},
        **keys,
    }
    files = {"experiments": tree, "search_spaces": space}
    for where, content in files.items():
        (folder / where).mkdir(parents=True, exist_ok=True)
        (folder / where / f"{name}.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    return folder / "experiments" / f"{name}.yaml"
