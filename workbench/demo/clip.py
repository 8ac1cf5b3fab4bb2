"""One demo clip, from its plan to an mp4 file."""

from pathlib import Path

import av
import numpy as np

from workbench.demo import picture_fakes, sound_fakes
from workbench.demo.face import SIZE_PX, draw_face
from workbench.demo.picture import FPS, FrameStack, draw_scene, film
from workbench.demo.plan import Clip
from workbench.demo.sound import (
    DEMO_RATE_HZ,
    Samples,
    draw_room,
    draw_voice,
    record,
    reverberate,
    speak,
)
from workbench.files import finished
from workbench.values import Frozen

_PICTURE_FAKES = {
    "self_blend": picture_fakes.self_blend,
    "patch_swap": picture_fakes.swap_patch,
    "upsampled": picture_fakes.grow,
}
_SOUND_FAKES = {
    "vocoder": sound_fakes.vocode,
    "shifted_splice": sound_fakes.splice,
}


class Packing(Frozen):
    """How long a clip is and how hard it is compressed."""

    num_frames: int
    crf: int
    audio_bit_rate: int


def make_clip(clip: Clip, path: Path) -> None:
    """Write `clip` to the mp4 file `path`, in one step; the same clip gives the same bytes."""
    identity = np.random.default_rng(clip.identity_seed)
    setting = np.random.default_rng(clip.setting_seed)
    rng = np.random.default_rng(clip.clip_seed)
    face, voice = draw_face(identity), draw_voice(identity)
    packing, scene, room = _draw_packing(setting), draw_scene(setting), draw_room(setting)

    said = speak(voice, rng, packing.num_frames, FPS)
    heard = reverberate(said.wave, room, rng)
    if clip.sound_generator in _SOUND_FAKES:
        heard = _SOUND_FAKES[clip.sound_generator](heard, rng)
    wave = record(heard, room, rng)

    frames, poses = film(face, scene, rng, said.opening, said.spread)
    if clip.picture_generator in _PICTURE_FAKES:
        frames = _PICTURE_FAKES[clip.picture_generator](frames, poses, face, rng)
    with finished(path) as part:
        _encode(part, frames, wave, packing)


def _draw_packing(rng: np.random.Generator) -> Packing:
    return Packing(
        num_frames=int(rng.integers(40, 61)),
        crf=int(rng.integers(16, 27)),
        audio_bit_rate=int(rng.choice([32_000, 48_000, 64_000])),
    )


def _encode(path: Path, frames: FrameStack, wave: Samples, packing: Packing) -> None:
    """Write H.264 and AAC; nothing in the file tells when or where it was made."""
    with av.open(str(path), "w", format="mp4", options={"fflags": "+bitexact"}) as file:
        video = file.add_stream("libx264", rate=FPS)
        video.width = video.height = SIZE_PX
        video.pix_fmt = "yuv420p"
        video.codec_context.thread_count = 1
        # With macroblock trees and B frames, x264 gave two different files of the same frames.
        video.options = {
            "crf": str(packing.crf),
            "preset": "veryfast",
            "threads": "1",
            "x264-params": "mbtree=0",
        }
        audio = file.add_stream("aac", rate=DEMO_RATE_HZ, layout="mono")
        audio.bit_rate = packing.audio_bit_rate
        audio.codec_context.thread_count = 1
        for stream in (video, audio):
            stream.codec_context.flags |= av.codec.context.Flags.bitexact
        samples = wave.astype(np.float32)[None]
        step = DEMO_RATE_HZ // FPS
        for i, frame in enumerate(frames):
            file.mux(video.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            sound = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(samples[:, i * step : (i + 1) * step]), "fltp", "mono"
            )
            sound.sample_rate = DEMO_RATE_HZ
            sound.pts = i * step
            file.mux(audio.encode(sound))
        file.mux(video.encode())
        file.mux(audio.encode())
