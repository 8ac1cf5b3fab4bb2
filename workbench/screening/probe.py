"""What a backbone sees before it is trained: its pooled features, and how far a line parts them."""

import hashlib
import json
import math
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from workbench.data.prepare import Prepared
from workbench.errors import DataError
from workbench.files import finished
from workbench.parts.model import PictureReader, is_grouped
from workbench.parts.plugins import own_versions
from workbench.parts.pretrained import loader
from workbench.parts.weights import RANDOM, Weights
from workbench.scoring.evaluator import per_file
from workbench.scoring.slices import Slice
from workbench.scoring.stored import StoredViews
from workbench.trial.batches import subset
from workbench.trial.delong import auc
from workbench.trial.device import capabilities, most_kept_bytes
from workbench.trial.memory import TooLargeError
from workbench.trial.memory_count import is_out_of_memory
from workbench.trial.sampling import Sampling

MOST_PROBED = 2000
"""Files of each split that are looked at: they tell an AUC of 0.8 to 0.01."""

PICTURES = 32
"""That go through a backbone at once."""

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Inverse strengths of the penalty on a line's weights (`C`)."""

_FORMAT = 1
_UNREADABLE = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)

FeatureRows = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Asked:
    """The features of one view by one backbone."""

    prepared: Path
    """Folder of the prepared data."""

    view: str
    image_px: int
    backbone: str = ""
    """Empty for a vector view, whose values are its features."""

    weights: Weights = RANDOM


@dataclass(frozen=True)
class Where:
    """How and where things are computed: it changes no number."""

    cache: Path
    store: Path
    """Folder of weights that the user brought."""

    device: str
    num_threads: int


class Pooled(NamedTuple):
    """The features of the files of two splits, (files, features) each."""

    train: FeatureRows
    val: FeatureRows


class Probe(NamedTuple):
    """How far a linear model of some features tells fake from real."""

    auc: float
    """Mean of two: learnt from `train` and asked of `val`, and the other way round."""

    standard_error: float
    """Of that mean, by the files that were asked."""

    val_auc: float
    """Of the two, the one asked of `val`."""

    num_features: int


def pooled(asked: Asked, where: Where) -> Pooled:
    """Return the features that `asked` names, from the cache if they were computed before.

    They are what the head of an untrained model would read: the same pixels, preprocessing and
    mean over frames as in training, without augmentation; of a file in segments, their mean.

    Raises:
        ConfigError: the backbone cannot take such pictures.
        DataError: the features are no numbers.
        DiskFullError: they could not be kept.
        TooLargeError: not even one file at a time fits into the memory.
        WeightsError: the weights are gone or damaged.
    """
    prepared = Prepared.load(asked.prepared).for_fold(1)
    rows = {split: taken(prepared, split) for split in Pooled._fields}
    file = where.cache / "features" / f"{_key(asked, prepared, rows)}.npz"
    found = _read(file)
    if found is None:
        torch.set_num_threads(where.num_threads)
        found = Pooled(*_features(asked, where, prepared, Pooled._fields, taken))
        with finished(file) as part:
            np.savez(part, **found._asdict())
    return found


def compute(asked: Asked, where: Where) -> float:
    """Have the features in the cache, see `pooled`; return the seconds that it took."""
    started = time.monotonic()
    pooled(asked, where)
    return time.monotonic() - started


def val_features(asked: tuple[Asked, ...], where: Where) -> FeatureRows:
    """Return the features of every file of `val` in several views, end to end; nothing is cached.

    Raises:
        WorkbenchError: as `pooled`.
    """
    torch.set_num_threads(where.num_threads)
    prepared = Prepared.load(asked[0].prepared)
    of_views = [_features(one, where, prepared, ["val"], Prepared.rows)[0] for one in asked]
    return np.concatenate(of_views, axis=1)


def probe(asked: tuple[Asked, ...], where: Where) -> Probe:
    """Return how far a line parts the classes in the features of several views, end to end.

    Raises:
        DataError: a split has fewer than two files of a class.
    """
    from threadpoolctl import threadpool_limits

    prepared = Prepared.load(asked[0].prepared).for_fold(1)
    train, val = (taken(prepared, split) for split in Pooled._fields)
    views = [pooled(one, where) for one in asked]
    with threadpool_limits(where.num_threads):
        return part_by_a_line(
            Pooled(*(np.concatenate(split, axis=1) for split in zip(*views, strict=True))),
            train["target"].to_numpy(np.int64),
            val["target"].to_numpy(np.int64),
        )


def part_by_a_line(
    features: Pooled, train_targets: npt.NDArray[np.int64], val_targets: npt.NDArray[np.int64]
) -> Probe:
    """Return how far a logistic regression of standardised features tells fake from real.

    The splits are the folds: a model of each is asked of the other. Folds inside of a split would
    not do, since a fake and the real file that it was made from look alike: with one of them in
    another fold, the model has learnt the wrong answer (on the demo's frames, AUCs of 0.23 to 0.4
    where `val` gives 0.6). The penalty is the one with the best mean of the two AUCs, so that mean
    flatters a little, and every backbone alike.

    Args:
        features: Of the files of both splits.
        train_targets: (train files,), 1 is fake.
        val_targets: (val files,).

    Raises:
        DataError: a split has fewer than two files of a class.
    """
    for split, targets in zip(Pooled._fields, (train_targets, val_targets), strict=True):
        if min(np.bincount(targets, minlength=2)) < 2:
            raise DataError(f"{split} has fewer than two files of a class that can be decoded")
    of_val = [auc(val_targets, s) for s in _scores(features.train, train_targets, features.val)]
    of_train = [auc(train_targets, s) for s in _scores(features.val, val_targets, features.train)]
    both = list(zip(of_val, of_train, strict=True))
    best = max(both, key=lambda two: two[0].value + two[1].value)
    return Probe(
        auc=(best[0].value + best[1].value) / 2,
        standard_error=math.hypot(*(side.standard_error or 0.0 for side in best)) / 2,
        val_auc=best[0].value,
        num_features=features.train.shape[1],
    )


def taken(prepared: Prepared, split: str) -> pd.DataFrame:
    """Return the rows of the files of a split that are looked at."""
    rows = prepared.rows(split)
    if len(rows) <= MOST_PROBED:
        return rows
    some = subset(rows["target"].to_numpy(), Sampling(subset=MOST_PROBED))
    return rows.iloc[some].reset_index(drop=True)


def _scores(
    learn: FeatureRows, targets: npt.NDArray[np.int64], ask: FeatureRows
) -> list[FeatureRows]:
    """Return what a logistic regression of each strength, learnt on `learn`, says of `ask`."""
    from sklearn.linear_model import LogisticRegression

    mean, spread = learn.mean(axis=0), learn.std(axis=0)
    spread[spread < 1e-6] = 1  # a feature that never moves says nothing
    learn, ask = (learn - mean) / spread, (ask - mean) / spread
    # Each starts where the one before, more strongly held, ended.
    model = LogisticRegression(warm_start=True, max_iter=1000, tol=1e-3)
    return [
        model.set_params(C=strength).fit(learn, targets).decision_function(ask)
        for strength in STRENGTHS
    ]


def _key(asked: Asked, prepared: Prepared, rows: dict[str, pd.DataFrame]) -> str:
    """Return what the features depend on as hex digits: weights, pixels, and the files in order.

    A file that was decoded anew has another status, so other features.
    """
    about = {
        "format": _FORMAT,
        "backbone": asked.backbone,
        "weights": asked.weights.model_dump(),
        **own_versions([asked.backbone]),
        "view": prepared.views[asked.view].uid,
        "image_px": asked.image_px,
    }
    key = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    columns = ["split", "content", f"status.{asked.view}"]
    for part in rows.values():
        key.update(part[columns].to_csv(index=False).encode())
    return key.hexdigest()[:24]


def _read(file: Path) -> Pooled | None:
    """Return stored features; None if there are none, or the file was damaged."""
    if not file.exists():
        return None
    try:
        with np.load(file) as stored:
            return Pooled(*(stored[split] for split in Pooled._fields))
    except _UNREADABLE:
        return None


def _features(
    asked: Asked,
    where: Where,
    prepared: Prepared,
    splits: Sequence[str],
    rows: Callable[[Prepared, str], pd.DataFrame],
) -> list[FeatureRows]:
    """Return the features of the `rows` of each split."""
    view, device = prepared.views[asked.view], torch.device(where.device)
    files = [
        StoredViews(
            Slice(split, prepared, rows(prepared, split)),
            {asked.view: view},
            image_px=asked.image_px,
            device=device,
            most_kept_bytes=most_kept_bytes(device),
        )
        for split in splits
    ]
    if not asked.backbone:
        return [_read_out(torch.nn.Identity(), split, asked.view, 1024) for split in files]
    reader = PictureReader(
        asked.backbone,
        view.shape,
        image_px=asked.image_px,
        weights=asked.weights,
        load=loader(where.store),
    )
    reader.to(device).eval()
    reader.lay_out(channels_last=capabilities(device).grouped_last or not is_grouped(reader))
    batch = max(1, PICTURES // view.shape[0])
    while True:
        try:
            return [_read_out(reader, split, asked.view, batch) for split in files]
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            said = str(error).strip().splitlines()[0]
        if batch == 1:
            raise TooLargeError(f"too little memory on {where.device} for its features: {said}")
        batch //= 2


def _read_out(reader: torch.nn.Module, files: StoredViews, view: str, batch: int) -> FeatureRows:
    """Return what `reader` makes of each file, the mean over its samples, (files, features)."""
    found: FeatureRows = per_file(
        files, lambda inputs: reader(inputs[view]).float().cpu(), batch_size=batch
    ).numpy()
    if not np.isfinite(found).all():
        raise DataError("its features are NaN or infinite")
    return found
