"""The media front end against the public baseline and against decoding alone, interleaved.

python -m tests.benchmarks.media.speed [CLIPS]

Every figure is CPU seconds of one process on one thread (the baseline's with those of the ffmpeg
that it starts), summed over the clips; ways take turns in groups of clips, so that a busy machine
slows all of them.
"""

import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from workbench.fence import KEEP_MEMORY
from workbench.media.decoders import ONE_THREAD

GROUP = 10
NUM_FRAMES = 8


def main(num_clips: int) -> None:
    """Print the rates and the ratios."""
    import cv2

    cv2.setNumThreads(1)
    from tests.media.clips import chirp, moving, write_media

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clips = []
        for number in range(num_clips):
            sound = chirp(4.0 + number / 1000)
            pictures = moving(100, width=640, height=360)
            clips.append(write_media(folder / f"{number}.mp4", sound=sound, pictures=pictures))
        report(clips, folder)


def report(clips: list[Path], folder: Path) -> None:
    """Time every way over the clips and print the table."""
    import av
    import cv2
    import librosa
    import numpy as np
    from av.stream import Discard
    from moviepy import VideoFileClip

    from tests.media.clips import decode
    from workbench.media.frames import Frames
    from workbench.media.mel import Mel
    from workbench.media.streams import feed, opened
    from workbench.media.timing import Timeline
    from workbench.media.video import Frame, FrameReader

    class Whole(Frames):
        """Frames as they are, of any size."""

        def keep(self, frame: Frame) -> Any:
            return frame.picture

    def baseline_mel(path: Path) -> Any:
        wave = folder / "sound.wav"
        with VideoFileClip(str(path)) as video:
            video.audio.write_audiofile(str(wave), logger=None)
        sound, rate = librosa.load(str(wave))
        mel = librosa.feature.melspectrogram(y=sound, sr=rate, n_mels=128)
        levels = cv2.normalize(
            librosa.power_to_db(mel, ref=np.max), np.empty(0), 0, 255, cv2.NORM_MINMAX
        )
        return cv2.resize(levels.astype(np.uint8), (256, 256), interpolation=cv2.INTER_LINEAR)

    def decoded_alone(path: Path, kind: str) -> int:
        with av.open(str(path)) as container:
            stream = getattr(container.streams, kind)[0]
            stream.codec_context.thread_count = 1
            for other in container.streams:
                if other is not stream:
                    other.discard = Discard.all
            return sum(1 for _ in container.decode(stream))

    def whole_frames(path: Path) -> Any:
        view = Whole(num_frames=NUM_FRAMES)
        with opened(path) as container:
            reader = FrameReader(container, {"": view})
            feed(container, [reader])
            return reader.kept("")

    def opencv_frames(path: Path) -> Any:
        capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
        frames = []
        while (read := capture.read())[0]:
            frames.append(read[1])
        return [frames[i][..., ::-1] for i in Timeline.even(len(frames)).at_even_times(NUM_FRAMES)]

    def saved_frames(path: Path) -> None:
        with VideoFileClip(str(path)) as video:
            for index in Timeline.even(100).at_even_times(NUM_FRAMES):
                video.save_frame(str(folder / "frame.png"), t=(index + 0.5) / 25)

    ways: dict[str, Callable[[Path], Any]] = {
        "sound decoded alone": lambda path: decoded_alone(path, "audio"),
        "mel": lambda path: decode(Mel(), path)[0, 0, :, :, 0],
        "baseline mel": baseline_mel,
        "video decoded alone": lambda path: decoded_alone(path, "video"),
        "8 frames as they are": whole_frames,
        "8 frames of 224 px": lambda path: decode(Frames(num_frames=NUM_FRAMES), path),
        "8 frames, nearest": lambda path: decode(
            Frames(num_frames=NUM_FRAMES, sampling="nearest"), path
        ),
        "OpenCV, every frame": opencv_frames,
        "moviepy save_frame": saved_frames,
    }
    for way in ways.values():
        way(clips[0])
    spent = dict.fromkeys(ways, 0.0)
    worst = off = 0
    for start in range(0, len(clips), GROUP):
        some = clips[start : start + GROUP]
        results = {}
        for name, way in ways.items():
            before = cpu_seconds()
            for path in some:
                results[name] = way(path)
            spent[name] += cpu_seconds() - before
        # Of the last clip of the group: to keep all would be timed as well.
        difference = results["mel"].astype(int) - results["baseline mel"]
        worst = max(worst, int(np.abs(difference).max()))
        for mine, theirs in zip(
            results["8 frames as they are"], results["OpenCV, every frame"], strict=True
        ):
            off = max(off, int(np.abs(mine.astype(int) - theirs).max()))
    for name, seconds in spent.items():
        print(f"{name:22} {1000 * seconds / len(clips):7.2f} ms a clip of CPU time")

    def ratio(fast: str, slow: str) -> float:
        return spent[slow] / spent[fast]

    print(f"mel against the baseline: {ratio('mel', 'baseline mel'):.1f} times")
    print(f"mel against decoding alone: {ratio('mel', 'sound decoded alone'):.2f} of its speed")
    print(f"largest difference of mel: {worst} grey levels")
    for name in ("8 frames as they are", "8 frames of 224 px", "8 frames, nearest"):
        alone = ratio(name, "video decoded alone")
        print(f"{name} against decoding alone: {alone:.2f} of its speed")
    print(f"8 frames against save_frame: {ratio('8 frames as they are', 'moviepy save_frame'):.1f}")
    print(f"largest difference of frames: {off}")


def cpu_seconds() -> float:
    """Return the CPU time of this process and of the children that ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


if __name__ == "__main__":
    # As in a decoding process; what sets this up must be there before the libraries are.
    settings = {**KEEP_MEMORY, **ONE_THREAD}
    if any(os.environ.get(name) != value for name, value in settings.items()):
        os.execve(
            sys.executable,
            [sys.executable, "-m", "tests.benchmarks.media.speed", *sys.argv[1:]],
            {**os.environ, **settings},
        )
    began = time.monotonic()
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
    print(f"{time.monotonic() - began:.0f} s in all")
