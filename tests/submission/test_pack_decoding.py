"""The views of a file are decoded once for all members of a pack."""

from collections import Counter
from pathlib import Path
from typing import Any

import av
import pytest

from tests.media.clips import chirp, moving, write_media
from tests.submission.saved_models import save_model
from workbench.media.frames import Frames
from workbench.media.mel import Mel
from workbench.parts.joint import MeanOfProbabilities
from workbench.parts.model_spec import ModelSpec
from workbench.parts.pack_spec import PackSpec
from workbench.parts.weights import RANDOM
from workbench.submission.api import Predictor

NUM_FILES = 3
MEL, FRAMES = Mel(num_mels=16, image_px=32), Frames(num_frames=2, image_px=32)


def test_five_members_decode_what_one_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [
        write_media(tmp_path / f"{number}.mp4", sound=chirp(0.5), pictures=moving(6 + number))
        for number in range(NUM_FILES)
    ]
    whole = ModelSpec(
        views={"mel": MEL, "frames": FRAMES}, backbone="test_resnet", weights=RANDOM, image_px=32
    )
    # Of five, some read the one view, some the other, and some both.
    members = (
        whole,
        whole.model_copy(update={"views": {"mel": MEL}}),
        whole.model_copy(update={"views": {"frames": FRAMES}}),
        whole.model_copy(update={"image_px": 48}),
        whole,
    )
    pack = PackSpec(members=members, joint=MeanOfProbabilities(weights=(0.2,) * len(members)))
    opened: Counter[str] = Counter()
    real = av.open

    def counted(file: Any, *args: Any, **options: Any) -> Any:
        opened[Path(getattr(file, "name", file)).name] += 1
        return real(file, *args, **options)

    monkeypatch.setattr(av, "open", counted)
    found = {}
    for name, spec in (("member", whole), ("pack", pack)):
        save_model(tmp_path / name, spec)
        opened.clear()
        scores = Predictor(tmp_path / name, num_decoders=0).predict_many(files)
        assert len(scores) == NUM_FILES
        found[name] = dict(opened)
    assert found["pack"] == found["member"] == {file.name: 1 for file in files}
