"""What each clip of the demo data is: dealt before anything is made, from the seed alone."""

import hashlib
from typing import Literal

import numpy as np

from workbench.values import Frozen

# A change to what is made takes a new version, so that old clips are not taken for new ones.
DEMO_VERSION = 1

REAL = "real"
PICTURE_GENERATORS = ("self_blend", "patch_swap")
SOUND_GENERATORS = ("vocoder", "shifted_splice")
# The picture generator that only the test split knows.
UNSEEN_GENERATOR = "upsampled"

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")

_CLIPS_PER_IDENTITY = 4
# Of ten fakes: four in sound only, three in picture only, three in both.
_PARTS = (
    "sound",
    "both",
    "picture",
    "sound",
    "both",
    "picture",
    "sound",
    "both",
    "picture",
    "sound",
)


class Clip(Frozen):
    """One clip before it is made."""

    split: Split
    name: str
    target: int
    picture_generator: str
    sound_generator: str
    identity: str
    identity_seed: tuple[int, ...]
    # A real clip and its fake twin share a setting: length, loudness, noise, codecs, scene.
    setting_seed: tuple[int, ...]
    clip_seed: tuple[int, ...]


def deal(num_clips: dict[Split, int], seed: int) -> list[Clip]:
    """Return every clip of every split; half of each split is fake, the odd clip real."""
    return [
        clip
        for number, split in enumerate(SPLITS)
        for clip in _deal_split(split, num_clips[split], (seed, DEMO_VERSION, number))
    ]


def _deal_split(split: Split, num_clips: int, seed: tuple[int, ...]) -> list[Clip]:
    rng = np.random.default_rng([*seed, 0])
    kinds = _fakes(split, num_clips // 2)
    order = rng.permutation(len(kinds))
    clips = []
    for index in range(num_clips):
        pair, target = divmod(index, 2)
        picture, sound = kinds[order[pair]] if target else (REAL, REAL)
        identity = index // _CLIPS_PER_IDENTITY
        clip_seed = (*seed, 3, index)
        # Tells neither the class nor the order.
        name = hashlib.sha256(",".join(map(str, clip_seed)).encode()).hexdigest()[:16]
        clips.append(
            Clip(
                split=split,
                name=name,
                target=target,
                picture_generator=picture,
                sound_generator=sound,
                identity=f"{split}-{identity:04d}",
                identity_seed=(*seed, 1, identity),
                setting_seed=(*seed, 2, pair),
                clip_seed=clip_seed,
            )
        )
    return clips


def _fakes(split: Split, num_fakes: int) -> list[tuple[str, str]]:
    """Return each fake's picture and sound generator, the generators in turn."""
    pictures = PICTURE_GENERATORS + ((UNSEEN_GENERATOR,) if split == "test" else ())
    kinds = []
    for i in range(num_fakes):
        part = _PARTS[i % len(_PARTS)]
        nth = sum(_PARTS[j % len(_PARTS)] == part for j in range(i))
        picture = pictures[nth % len(pictures)] if part != "sound" else REAL
        # In a clip that has both, the sound steps on after each round of pictures.
        turn = nth // len(pictures) if part == "both" else nth
        sound = SOUND_GENERATORS[turn % len(SOUND_GENERATORS)] if part != "picture" else REAL
        kinds.append((picture, sound))
    return kinds
