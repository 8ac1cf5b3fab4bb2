"""What each part of the shipped spaces is worth: on against off, all else by one cheap recipe.

python -m tests.benchmarks.ablations DATA CACHE KEPT [TEST_LABELS] [SEEDS]

A line of KEPT is one training, written when it ends; one that is there is not run again, so the
command goes on after a stop, and with no training left prints its table at once. Each part is
trained with the same seeds as the recipe without it; one seed of all parts comes before the next.
Test labels are read to measure alone.
"""

import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from workbench.data.manifest import Layout, read_manifest
from workbench.data.prepare import prepare
from workbench.data.training_copies import prepare_training_copies
from workbench.media.views import AnyView
from workbench.parts.pretrained import resolve
from workbench.space.space import SampledConfig
from workbench.trial.delong import auc
from workbench.trial.recipe import Objective
from workbench.trial.result import TrialFolder
from workbench.trial.train import run_trial
from workbench.validation import build

PX = 64
VIEWS: dict[str, dict[str, Any]] = {
    "cqt": {"kind": "cqt", "image_px": PX},
    "mel": {"kind": "mel", "num_mels": PX, "image_px": PX},
    "frames": {"kind": "frames", "num_frames": 1, "image_px": PX},
    "frame-diff": {"kind": "frame-diff", "num_frames": 1, "image_px": PX},
    "four-frames": {"kind": "frames", "num_frames": 4, "image_px": PX},
}
PLAIN: dict[str, Any] = {
    "views": ["cqt", "frames"],
    "backbone": "tf_efficientnet_lite0",
    "image_px": PX,
    "precision": "float32",
    "num_epochs": 3,
    "batch_size": 16,
    "optimizer": {"kind": "adamw", "lr": 1e-3, "weight_decay": 0.01},
    "schedule": {"kind": "cosine", "warmup_share": 0.1},
}


def _pictures(**keys: Any) -> dict[str, Any]:
    return {"augment": {"pictures": keys}}


def _sounds(**keys: Any) -> dict[str, Any]:
    return {"augment": {"spectrograms": keys}}


PARTS: dict[str, dict[str, Any]] = {
    # Of demo.yaml, and most of ffdv.yaml too.
    "label smoothing 0.1": {"loss": {"kind": "cross_entropy", "label_smoothing": 0.1}},
    "focal loss, gamma 2": {"loss": {"kind": "focal", "gamma": 2.0}},
    "Mixup 0.2": {"augment": {"mixup_alpha": 0.2}},
    "pictures mirrored, 0.5": _pictures(hflip=0.5),
    "pictures grey, 0.2": _pictures(grayscale=0.2),
    "sound shifted by up to 0.1": _sounds(time_shift=0.1),
    "dropout 0.25": {"dropout": 0.25},
    "Adam, for AdamW": {"optimizer": {"kind": "adam", "lr": 1e-3}},
    "steps of 0.5, for the cosine": {"schedule": {"kind": "step", "step_epochs": 1, "gamma": 0.5}},
    "differences of frames, for frames": {"views": ["cqt", "frame-diff"]},
    # Of ffdv.yaml alone.
    "pairwise AUC loss, margin 1": {"loss": {"kind": "pairwise_auc", "margin": 1.0}},
    "CutMix 1": {"augment": {"cutmix_alpha": 1.0}},
    "pictures turned by up to 10 degrees": _pictures(rotation_deg=10.0),
    "pictures cropped to 0.75 of their area or more": _pictures(crop_scale=0.75),
    "TrivialAugment": _pictures(policy="trivialaugment"),
    "brightness and contrast 0.2": _pictures(brightness=0.2, contrast=0.2),
    "blur 0.3": _pictures(blur=0.3),
    "noise 0.3": _pictures(noise=0.3),
    "rescaling 0.3": _pictures(rescale=0.3),
    "JPEG 0.6, quality 50 or more": _pictures(jpeg=0.6, jpeg_quality=50),
    "erasing 0.25": _pictures(erase=0.25),
    "sound cropped to 0.85 or more": _sounds(crop_scale=0.85),
    "gain of up to 6 dB": _sounds(gain_db=6.0),
    "time and bands masked, 0.1": _sounds(time_mask=0.1, frequency_mask=0.1),
    "head alone in the first epoch": {"transfer": {"frozen_epochs": 1}},
    "rates fall by 0.75 a layer": {"transfer": {"layer_decay": 0.75}},
    "weights averaged (EMA 0.99)": {"transfer": {"ema_decay": 0.99}},
    "SGD 0.02, for AdamW": {
        "optimizer": {"kind": "sgd", "lr": 0.02, "weight_decay": 1e-4, "nesterov": True}
    },
    "one cycle, for the cosine": {"schedule": {"kind": "one_cycle", "pct_start": 0.25}},
    "plateaus, for the cosine": {
        "schedule": {"kind": "plateau", "patience_epochs": 1, "gamma": 0.3}
    },
    "frames mirrored in scoring": {"tta": "hflip"},
    "cqt alone, for cqt and frames": {"views": ["cqt"]},
    "classes balanced": {"sampling": {"balanced": True}},
    "EfficientNet-Lite1, for Lite0": {"backbone": "tf_efficientnet_lite1"},
    "mel, for cqt": {"views": ["mel", "frames"]},
    "batches of 32, for 16": {"batch_size": 32},
}
"""What `ffdv.yaml` and `demo.yaml` set or may draw, by about the middle of each range,
and batches of 32, which lost."""

OTHERS: dict[str, dict[str, Any]] = {
    "two labels": {"method": {"kind": "fine-tune", "two_labels": True}},
    "norms alone": {"transfer": {"scope": "norms"}},
    "the last block alone": {"transfer": {"scope": "last_block"}},
    "pictures grow from half their side": {"train_size": {"first": 0.5}},
}
"""What the shipped spaces leave out. Two labels want columns that say them."""


def _over(kind: str) -> dict[str, Any]:
    return {"views": ["four-frames"], "over_frames": {"kind": kind}}


FOUR, BLENDS = "four frames alone", "copies: blend, 0.3"
OVER_FRAMES: dict[str, dict[str, Any]] = {
    FOUR: _over("mean"),
    "attention over four frames": _over("attention"),
    "transformer over four frames": _over("transformer"),
    "top 2 of four frames": _over("top-k"),
    "the confident of four frames": _over("confident"),
    "copies: freeze, 0.2, of four frames": {**_over("mean"), "copies": {"freeze": 0.2}},
}
LATER: dict[str, dict[str, Any]] = {
    "copies: pitch, 0.2": {"copies": {"pitch": 0.2}},
    "copies: formants, 0.2": {"copies": {"formants": 0.2}},
    "copies: vocoder, 0.2": {"copies": {"vocoder": 0.2}},
    "copies: world, 0.2": {"copies": {"world": 0.2}},
    "copies: transplant, 0.2": {"copies": {"transplant": 0.2}},
    "copies: splice, 0.2": {"copies": {"splice": 0.2}},
    "copies: mismatch, 0.2": {"copies": {"mismatch": 0.2}},
    "copies: insert, 0.2": {"copies": {"insert": 0.2}},
    "copies: phoned, 0.3": {"copies": {"phoned": 0.3}},
    "copies: recoded, 0.3": {"copies": {"recoded": 0.3}},
    "copies: trimmed, 0.3": {"copies": {"trimmed": 0.3}},
    "copies: cutout, 0.3": {"copies": {"cutout": 0.3}},
    BLENDS: {"copies": {"blend": 0.3}},
    "blend 0.3 and recoded 0.3": {"copies": {"blend": 0.3, "recoded": 0.3}},
    "blend 0.3 and paired mixup 0.5": {
        "copies": {"blend": 0.3},
        "augment": {"paired_mixup_alpha": 0.5},
    },
    "residuals beside the colours (rgb+srm)": {"picture_input": "rgb+srm"},
    "fft-magnitude, for the colours": {"picture_input": "fft-magnitude"},
    "falls by a power of 0.9, for the cosine": {"schedule": {"kind": "poly", "power": 0.9}},
    "sharpness-aware steps, 0.05": {"gradient": {"sam_rho": 0.05}},
    "contrastive loss, 0.5": {"contrast": {"weight": 0.5}},
    "blocks skipped, 0.2": {"transfer": {"stochastic_depth": 0.2}},
    "fakes and reals averaged apart": {"loss": {"kind": "class_means"}},
    "two crops of a sample, 0.75": {
        "sampling": {"repeats": 2},
        "augment": {"pictures": {"crop_scale": 0.75}, "spectrograms": {"crop_scale": 0.85}},
    },
    "RandAugment 27, deviation 1.5": _pictures(
        policy="randaugment", policy_magnitude=27, policy_magnitude_std=1.5
    ),
    **OVER_FRAMES,
}
"""Left out of them too: copies of training files (`world` wants the extra of that name), what is
seen of pictures, steps, and ways over frames."""

BESIDE = {
    "blend 0.3 and recoded 0.3": BLENDS,
    "blend 0.3 and paired mixup 0.5": BLENDS,
    **dict.fromkeys([*OVER_FRAMES][1:], FOUR),
}
"""What a part's gain is over, if not over the recipe without any part."""


def main(data: Path, cache: Path, kept: Path, test_labels: Path | None, num_seeds: int) -> None:
    """Run what KEPT lacks, then print the table."""
    torch.set_num_threads(1)
    manifest = read_manifest(data, Layout(), cache=cache)
    views: dict[str, Any] = {name: build(AnyView, VIEWS[name], where=name) for name in VIEWS}
    labels = None
    if test_labels is not None:
        labels = pd.read_csv(test_labels).set_index("video_name")["target"]
    done = {(row.part, row.seed) for row in read(kept).itertuples()}
    for seed in range(num_seeds):
        for part, changes in {"plain": {}, **PARTS, **OTHERS, **LATER}.items():
            if (part, seed) in done:
                continue
            draft: SampledConfig = build(SampledConfig, {**PLAIN, **changes}, where=part)
            weights, _ = resolve(str(draft.backbone), "local", cache)
            read_by = {name: views[name] for name in draft.views}
            recipe = draft.recipe(
                data=manifest.fingerprint,
                views=views,
                weights=weights,
                objective=Objective(),
                seed=seed,
            )
            began = time.process_time()
            prepared = prepare(manifest, data, read_by, cache=cache, jobs=1)
            copies = prepare_training_copies(
                prepared,
                draft.copies.forged,
                draft.copies.damaged,
                data,
                manifest.stamps,
                cache=cache,
                jobs=1,
            )
            prepared = replace(prepared, beside=copies)
            with tempfile.TemporaryDirectory() as folder:
                trial = TrialFolder(Path(folder))
                result = run_trial(
                    recipe, prepared, trial.path, device="cpu", report=lambda _: "go on"
                )
                scores = trial.read_scores()
            if result.state != "complete":
                print(f"{part}, seed {seed}: {result.reason}", flush=True)
                continue
            values = [
                auc_of(scores, "val", None),
                auc_of(scores, "test", labels) if labels is not None else np.nan,
            ]
            seconds = time.process_time() - began
            line = {"part": part, "seed": seed, "val": values[0], "test": values[1], "s": seconds}
            table = pd.DataFrame([line])
            table.to_csv(kept, mode="a", index=False, header=not kept.exists(), sep="\t")
    print_table(read(kept), labels is not None)


def read(kept: Path) -> pd.DataFrame:
    """Return the trainings that were run."""
    if kept.exists():
        return pd.read_csv(kept, sep="\t")
    return pd.DataFrame(columns=["part", "seed", "val", "test", "s"])


def auc_of(scores: pd.DataFrame, split: str, labels: "pd.Series[int] | None") -> float:
    """Return the AUC of the files of `split`."""
    rows = scores[scores["slice"] == split]
    target = rows["target"] if labels is None else labels.loc[rows["name"]]
    return auc(np.asarray(target), np.asarray(rows["score"])).value


def print_table(kept: pd.DataFrame, has_test: bool) -> None:
    """Print each part's mean and standard deviation over the seeds, and its gains by seed.

    Behind them is the mean gain over the median of all parts with the same seed: the recipe without
    any part is one training, which its seed alone moves as much as most parts do.
    """
    splits = ["val", "test"] if has_test else ["val"]
    medians = kept[~kept["part"].isin(OVER_FRAMES)].groupby("seed")[splits].median()
    for part, rows in kept.groupby("part", sort=False):
        base = kept[kept["part"] == BESIDE.get(str(part), "plain")].set_index("seed")
        own, cells = rows.set_index("seed"), [str(part)]
        for split in splits:
            cells.append(f"{own[split].mean():.3f} ± {own[split].std():.3f}")
            gains = own[split] - base[split].loc[own.index]
            by_seed = ", ".join(f"{gain:+.3f}" for gain in gains)
            cells.append("" if part == "plain" else f"**{gains.mean():+.3f}** ({by_seed})")
            over_median = own[split] - medians[split]
            cells.append("" if part in OVER_FRAMES else f"{over_median.mean():+.3f}")
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main(
        Path(sys.argv[1]),
        Path(sys.argv[2]),
        Path(sys.argv[3]),
        Path(sys.argv[4]) if len(sys.argv) > 4 and sys.argv[4] != "-" else None,
        int(sys.argv[5]) if len(sys.argv) > 5 else 3,
    )
