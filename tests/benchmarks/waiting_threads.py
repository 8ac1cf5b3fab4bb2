"""Time of training steps by two threads that spin or sleep while they wait for one another.

On a machine that is theirs alone, and beside two programs that keep its two cores busy.

python -m tests.benchmarks.waiting_threads
"""

import os
import statistics
import subprocess
import sys
import time

from workbench.fence import SLEEP_AT_BARRIERS

ROUNDS, STEPS = 3, 6
BUSY = "while True: pass"


def main() -> None:
    """Print the median seconds of a step of both, alone and beside others, and their ratios."""
    for beside in (0, 2):
        others = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(beside)]
        took: dict[bool, list[float]] = {False: [], True: []}
        try:
            for _ in range(ROUNDS):
                for sleeps, seconds in took.items():
                    kept = {k: v for k, v in os.environ.items() if k not in SLEEP_AT_BARRIERS}
                    env = {**kept, **(SLEEP_AT_BARRIERS if sleeps else {})}
                    command = [sys.executable, "-m", "tests.benchmarks.waiting_threads", "--steps"]
                    ran = subprocess.run(
                        command, env=env, capture_output=True, text=True, check=True
                    )
                    seconds.append(float(ran.stdout))
        finally:
            for other in others:
                other.kill()
        spin, sleep = (statistics.median(took[sleeps]) for sleeps in (False, True))
        print(
            f"beside {beside}: spinning {spin:.2f} s, sleeping {sleep:.2f} s a step: "
            f"ratio {spin / sleep:.2f}",
            flush=True,
        )


def steps() -> None:
    """Print the seconds of a training step."""
    import torch

    from workbench.parts.torchvision_fix import import_timm

    torch.set_num_threads(2)
    model = import_timm().create_model("tf_efficientnet_lite0", num_classes=2)
    model = model.to(memory_format=torch.channels_last)
    images = torch.rand(16, 3, 160, 160).contiguous(memory_format=torch.channels_last)
    for step in range(STEPS + 1):
        if step == 1:  # the first warms up
            start = time.perf_counter()
        model.zero_grad()
        model(images).square().mean().backward()
    print((time.perf_counter() - start) / STEPS)


if __name__ == "__main__":
    steps() if "--steps" in sys.argv else main()
