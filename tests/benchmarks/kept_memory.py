"""CPU time of training steps in a worker that keeps freed memory against one that gives it back.

python -m tests.benchmarks.kept_memory
"""

import os
import resource
import statistics
import subprocess
import sys

from workbench.fence import KEEP_MEMORY

ROUNDS, STEPS = 3, 4


def main() -> None:
    """Print median CPU seconds of both, and their ratio."""
    took: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(ROUNDS):
        for keeps, seconds in took.items():
            env = {**os.environ, **(KEEP_MEMORY if keeps else {})}
            command = [sys.executable, "-m", "tests.benchmarks.kept_memory", "--steps"]
            ran = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
            seconds.append(float(ran.stdout))
    back, kept = (statistics.median(took[keeps]) for keeps in (False, True))
    print(f"given back {back:.2f} s, kept {kept:.2f} s of CPU time: ratio {back / kept:.2f}")


def steps() -> None:
    """Print the CPU seconds, user and system, of some training steps."""
    import torch

    from workbench.parts.torchvision_fix import import_timm

    torch.set_num_threads(1)
    model = import_timm().create_model("tf_efficientnet_lite0", num_classes=2)
    model = model.to(memory_format=torch.channels_last)
    images = torch.rand(64, 3, 112, 112).contiguous(memory_format=torch.channels_last)
    for step in range(STEPS + 1):
        if step == 1:  # the first warms up
            start = resource.getrusage(resource.RUSAGE_SELF)
        model.zero_grad()
        model(images).square().mean().backward()
    end = resource.getrusage(resource.RUSAGE_SELF)
    print(end.ru_utime - start.ru_utime + end.ru_stime - start.ru_stime)


if __name__ == "__main__":
    steps() if "--steps" in sys.argv else main()
