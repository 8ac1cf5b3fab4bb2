"""What decoding takes for a pack of five members, beside one member that reads the same views.

python -m tests.benchmarks.pack_decoding [FILES] [ROUNDS]

Made clips of five seconds are scored in this process by an exported model of one member and by one
of five with the same views, in turn. Decoding is timed apart from the networks, in CPU time, so
that other work on the machine does not count. The target: the pack's decoding takes what the
member's does.
"""

import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch

from tests.media.clips import chirp, moving, write_media
from tests.submission.saved_models import save_model
from workbench.errors import MediaError
from workbench.media.decoders import read_here
from workbench.media.frames import Frames
from workbench.media.mel import Mel
from workbench.media.view import MadeOrNot, View
from workbench.parts.joint import MeanOfProbabilities
from workbench.parts.model_spec import ModelSpec
from workbench.parts.pack_spec import PackSpec
from workbench.parts.weights import RANDOM
from workbench.submission import api

NUM_MEMBERS = 5
CLIP_S, FPS = 5, 25
SPEC = ModelSpec(
    views={"mel": Mel(num_mels=64, image_px=64), "frames": Frames(num_frames=4, image_px=64)},
    backbone="test_resnet",
    weights=RANDOM,
    image_px=64,
)


def main(num_files: int, rounds: int) -> None:
    """Print the CPU milliseconds a file of each, and their ratio, by rounds."""
    torch.set_num_threads(1)
    pack = PackSpec(
        members=(SPEC,) * NUM_MEMBERS,
        joint=MeanOfProbabilities(weights=(1 / NUM_MEMBERS,) * NUM_MEMBERS),
    )
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        files = [
            write_media(
                root / f"{number}.mp4",
                sound=chirp(CLIP_S),
                pictures=moving(CLIP_S * FPS, width=320, height=240),
            )
            for number in range(num_files)
        ]
        models = {
            what: api.Predictor(save_model(root / what, spec), num_decoders=0)
            for what, spec in (("member", SPEC), ("pack", pack))
        }
        took: dict[str, list[tuple[float, float]]] = {what: [] for what in models}
        for number in range(rounds + 1):
            for what, model in models.items():
                found = timed(model, files)
                if number:  # the first round warms up
                    took[what].append(found)
    for place, part in enumerate(("decoding", "networks")):
        member, of_pack = (np.array(took[what])[:, place] for what in ("member", "pack"))
        ratios = of_pack / member
        print(
            f"{part}: a member {np.median(member):.1f} CPU ms a file, a pack of {NUM_MEMBERS} "
            f"{np.median(of_pack):.1f}; ratio {np.median(ratios):.2f} "
            f"({ratios.min():.2f} to {ratios.max():.2f}, {rounds} rounds)"
        )


def timed(model: api.Predictor, files: list[Path]) -> tuple[float, float]:
    """Return the CPU milliseconds a file that decoding took, and all the rest."""
    decoding_s = 0.0

    def read(path: Path, views: Mapping[str, View]) -> MadeOrNot | MediaError:
        nonlocal decoding_s
        begin = time.process_time()
        made = read_here(path, views)
        decoding_s += time.process_time() - begin
        return made

    with patch.object(api, "read_here", read):
        begin = time.process_time()
        model.predict_many(files)
        all_s = time.process_time() - begin
    return 1000 * decoding_s / len(files), 1000 * (all_s - decoding_s) / len(files)


if __name__ == "__main__":
    main(
        int(sys.argv[1]) if len(sys.argv) > 1 else 20,
        int(sys.argv[2]) if len(sys.argv) > 2 else 7,
    )
