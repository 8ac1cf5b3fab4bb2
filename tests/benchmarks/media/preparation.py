"""A preparation as a whole: processes, a second run, added clips, memory.

python -m tests.benchmarks.media.preparation [CLIPS [TINY_CLIPS]]

One process and two take turns on all clips. Memory is that of this process and its
decoders, in a preparation of many tiny clips.
"""

import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.media.clips import chirp, moving, write_media

if TYPE_CHECKING:  # decoders import this file anew: it must not be slower to start than the program
    from workbench.data.manifest import Manifest
    from workbench.media.view import View

ROUNDS = 2
SOURCES = 10


def main(num_clips: int, num_tiny: int) -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sources = [
            write_media(
                folder / f"source{number}.mp4",
                sound=chirp(4.0 + number / 100),
                pictures=moving(100, width=320, height=180),
            )
            for number in range(SOURCES)
        ]
        processes(folder, sources, num_clips)
        commands(folder, sources, num_clips)
        tiny = write_media(folder / "tiny.wav", sound=chirp(0.3), sound_codec="pcm_s16le")
        memory(folder, tiny, num_tiny)


def processes(folder: Path, sources: list[Path], num_clips: int) -> None:
    """Prepare the clips with one process and with two, in turns."""
    from workbench.data.manifest import Layout, read_manifest
    from workbench.data.prepare import prepare
    from workbench.media.frames import Frames
    from workbench.media.mel import Mel

    views: dict[str, View] = {"mel": Mel(), "frames": Frames(num_frames=4)}
    spent = {1: 0.0, 2: 0.0}
    data = write_data(folder / "twice", sources, num_clips)
    manifest = read_manifest(data, Layout(), cache=data / "cache")
    for number in range(ROUNDS):
        for jobs in (1, 2) if number % 2 else (2, 1):
            cache = data / f"cache{number}-{jobs}"
            began = time.perf_counter()
            prepare(manifest, data, views, cache=cache, jobs=jobs)
            spent[jobs] += time.perf_counter() - began
    count = len(manifest.table) * ROUNDS
    for jobs, seconds in spent.items():
        print(f"mel and 4 frames, {jobs} processes: {count / seconds:.1f} clips a second")
    print(f"two processes against one: {spent[1] / spent[2]:.2f} times")


def commands(folder: Path, sources: list[Path], num_clips: int) -> None:
    """Prepare by the command, again, and after clips were added."""
    data = write_data(folder / "all", sources, num_clips)
    experiment = folder / "experiment.yaml"
    experiment.write_text(
        "name: bench\nviews: {mel: {kind: mel}, frames: {kind: frames, num_frames: 4}}\n"
    )
    print(f"workbench prepare, {num_clips} clips: {command(folder, experiment, data):.2f} s")
    print(f"workbench prepare again: {command(folder, experiment, data):.2f} s")
    add(data, sources, range(num_clips, num_clips + 10))
    print(f"workbench prepare after 10 clips more: {command(folder, experiment, data):.2f} s")


def command(folder: Path, experiment: Path, data: Path) -> float:
    """Run `workbench prepare` and return its seconds, start included."""
    began = time.perf_counter()
    program = [sys.executable, "-m", "workbench", "prepare", str(experiment), "--data", str(data)]
    subprocess.run(program, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def memory(folder: Path, tiny: Path, count: int) -> None:
    """Prepare many tiny clips, and print how much memory that takes on its way."""
    from workbench.data.prepare import prepare
    from workbench.media.mel import Mel

    data = folder / "tiny"
    data.mkdir()
    content = tiny.read_bytes()
    names = [f"{number}.wav" for number in range(count)]
    for number, name in enumerate(names):
        (data / name).write_bytes(content + number.to_bytes(4, "big"))
    manifest = manifest_of(data, names)
    views: dict[str, View] = {"mel": Mel(image_px=64)}
    done, sizes = threading.Event(), []

    def watch() -> None:
        while not done.wait(1):
            sizes.append(resident_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    began = time.perf_counter()
    prepared = prepare(manifest, data, views, cache=folder / "tiny-cache", jobs=2)
    seconds = time.perf_counter() - began
    done.set()
    watcher.join()
    marks = [sizes[len(sizes) * share // 100 - 1] >> 20 for share in (10, 25, 50, 75, 100)]
    said = ", ".join(map(str, marks))
    print(f"{count} clips of 0.3 s: {count / seconds:.0f} a second; MiB on its way: {said}")
    before = resident_bytes()
    rows = prepared.open_array("mel")
    total = sum(int(rows[row].max()) for row in prepared.table["row.mel"][:: count // 100])
    grown = (resident_bytes() - before) >> 20
    size = prepared.arrays["mel"].stat().st_size >> 20
    print(f"read 100 rows of {size} MiB: {grown} MiB more ({total} is their sum)")


def manifest_of(data: Path, names: list[str]) -> "Manifest":
    """Return the manifest of a folder of tiny clips."""
    from workbench.data.manifest import Layout, read_manifest

    (data / "train_label.txt").write_text(
        "\n".join(["audio_name,target", *(f"{name},{i % 2}" for i, name in enumerate(names))])
    )
    few = names[:2]
    (data / "val_label.txt").write_text(
        "\n".join(["audio_name,target", *(f"{name},{i % 2}" for i, name in enumerate(few))])
    )
    (data / "prediction.csv").write_text("\n".join(["audio_name,y_pred", *(f"{n},0" for n in few)]))
    layout = Layout(train_media=(".",), val_media=(".",), test_media=(".",))
    return read_manifest(data, layout, cache=data / ".cache")


def write_data(data: Path, sources: list[Path], count: int) -> Path:
    """Write a data folder of `count` training clips, two to validate and two to test."""
    for split in ("trainset", "valset", "testset"):
        (data / split).mkdir(parents=True)
    rows = ["video_name,target"]
    for number in range(2):
        copy(sources[number], data / "valset" / f"v{number}.mp4", 10**6 + number)
        copy(sources[number], data / "testset" / f"t{number}.mp4", 10**7 + number)
        rows.append(f"v{number}.mp4,{number}")
    (data / "val_label.txt").write_text("\n".join(rows))
    (data / "prediction.csv").write_text("video_name,y_pred\nt0.mp4,0\nt1.mp4,0\n")
    (data / "train_label.txt").write_text("video_name,target\n")
    add(data, sources, range(count))
    return data


def add(data: Path, sources: list[Path], numbers: range) -> None:
    """Add training clips."""
    with (data / "train_label.txt").open("a") as labels:
        for number in numbers:
            copy(sources[number % len(sources)], data / "trainset" / f"{number}.mp4", number)
            labels.write(f"{number}.mp4,{number % 2}\n")


def copy(source: Path, target: Path, number: int) -> None:
    """Copy an MP4 with a box that no decoder reads, so that every copy has another content."""
    box = (16).to_bytes(4, "big") + b"free" + number.to_bytes(8, "big")
    target.write_bytes(source.read_bytes() + box)


def resident_bytes() -> int:
    """Return the resident memory of this process and its children."""
    total = 0
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(folder.name) == os.getpid() or int(fields[1]) == os.getpid():
            total += int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
    return total


if __name__ == "__main__":
    sizes = [int(argument) for argument in sys.argv[1:]]
    main(*(sizes + [500, 20_000][len(sizes) :]))
