"""Clips a second of the mel view against the public baseline, interleaved in one process.

python -m tests.benchmarks.mel_speed [CLIPS]
"""

import sys
import tempfile
import time
from pathlib import Path

import cv2
import librosa
import numpy as np
from moviepy import VideoFileClip

from tests.media.clips import chirp, moving, write_media
from workbench.media.views import Mel


def baseline(path: Path, wave: Path) -> np.ndarray:
    """Return the baseline's picture, made as the baseline makes it."""
    with VideoFileClip(str(path)) as video:
        video.audio.write_audiofile(str(wave), logger=None)
    sound, rate = librosa.load(str(wave))
    mel = librosa.feature.melspectrogram(y=sound, sr=rate, n_mels=128)
    levels = cv2.normalize(librosa.power_to_db(mel, ref=np.max), None, 0, 255, cv2.NORM_MINMAX)
    resized = cv2.resize(levels.astype(np.uint8), (256, 256), interpolation=cv2.INTER_LINEAR)
    return np.asarray(resized)


def main(num_clips: int) -> None:
    """Print the rates, their ratio and the largest difference."""
    view = Mel()
    ours, theirs, worst = 0.0, 0.0, 0
    with tempfile.TemporaryDirectory() as folder:
        for number in range(num_clips):
            path = Path(folder) / f"{number}.mp4"
            write_media(path, sound=chirp(4.0), pictures=moving(100))
            start = time.process_time()
            picture = view.decode(path)[0, :, :, 0]
            ours += time.process_time() - start
            before = sum(os_times())
            reference = baseline(path, Path(folder) / "sound.wav")
            theirs += sum(os_times()) - before
            worst = max(worst, int(np.abs(picture.astype(int) - reference).max()))
    print(f"mel {num_clips / ours:.1f}, baseline {num_clips / theirs:.1f} clips per CPU second")
    print(f"ratio {theirs / ours:.1f}, largest difference {worst} grey levels")


def os_times() -> tuple[float, ...]:
    """Return CPU seconds of this process and of its children: the baseline starts ffmpeg."""
    import os

    return tuple(os.times()[:4])


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
