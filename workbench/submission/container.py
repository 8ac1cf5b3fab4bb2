"""The Dockerfile of a bundle: one image that predicts and, where it can, trains again."""

import sys

_LAUNCHER = r"""RUN printf '#!/bin/sh\nexec python {options}/bundle/{program} "$@"\n' \
        > /usr/local/bin/{name} \
    && chmod 755 /usr/local/bin/{name}
"""


def dockerfile(training: str = "") -> str:
    """Return a Dockerfile of the present Python with the commands `predict` and `train`.

    All that is downloaded is downloaded while the image is built.

    Args:
        training: What pip installs, beside the requirements of prediction, for `train.py`; if
            empty, the bundle has no such program, and the image no command `train`.
    """
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    train = train_usage = ""
    if training:
        train_usage = (
            '#   docker run --rm --network none -v "$PWD:/data:ro" -v "$PWD-retrained:/out" \\\n'
            "#       bundle train --data /data --out /out/retrained\n"
        )
        train = f"RUN python -m pip install -c requirements.txt {training}\n" + _LAUNCHER.format(
            options="", program="train.py", name="train"
        )
    return f"""\
#   docker build -t bundle .
#   docker run --rm --network none -v "$PWD:/media" -w /media bundle \\
#       predict clip.mp4 --out scores.csv
{train_usage}#
# On a GPU: add `--gpus all` to `docker run`, and `--device cuda` after `predict`. The torch of the
# Python package index brings CUDA along. To take it from the image instead, name one that has
# CUDA, Python {python} and pip:    docker build --build-arg BASE=IMAGE -t bundle .
# A smaller image, for CPUs alone:
#   docker build --build-arg PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu -t bundle .
ARG BASE=python:{python}-slim
FROM ${{BASE}}
ARG PIP_EXTRA_INDEX_URL
ENV PIP_BREAK_SYSTEM_PACKAGES=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
ENV PYTHONDONTWRITEBYTECODE=1 HF_HUB_OFFLINE=1
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
WORKDIR /bundle
COPY requirements.txt .
RUN python -m pip install -r requirements.txt
COPY . .
{_LAUNCHER.format(options="-I -B ", program="predict.py", name="predict")}{train}\
CMD ["predict", "--help"]
"""
