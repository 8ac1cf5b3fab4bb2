"""Encoders that do not end well."""

import stat
from pathlib import Path

import pytest

from workbench.media.ffmpeg import load_moviepy

CUT_OFF = "head -c 4000 > /dev/null; exit 1"
CUT_OFF_WITHOUT_A_WORD = "head -c 4000 > /dev/null"
FULL = "cat > /dev/null; echo 'Error writing trailer: No space left on device' >&2; exit 228"
FULL_AT_ITS_CLOSE = "cat > /dev/null; echo 'Error closing file: No space left on device' >&2"


def encode_by(script: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let moviepy run the shell script `script`, after FFmpeg itself wrote half of the file."""
    own = load_moviepy()
    program = folder / "encoder"
    # The last argument is the file.
    lines = [
        "#!/bin/sh",
        'for file; do :; done; case "$file" in *.*) ;; *) exit 9;; esac',
        f'"{own}" -v error -f lavfi -i sine=d=0.2 -y "$file.wav"; mv "$file.wav" "$file"',
        script,
    ]
    program.write_text("\n".join(lines) + "\n", encoding="utf-8")
    program.chmod(stat.S_IRWXU)
    for module in ("audio.io.ffmpeg_audiowriter", "video.io.ffmpeg_writer"):
        monkeypatch.setattr(f"moviepy.{module}.FFMPEG_BINARY", str(program))
