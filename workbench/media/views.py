"""All views. To add one: write its module, name its class in `AnyView`."""

from typing import Annotated

from pydantic import Field

from workbench.media.audio_features import Features
from workbench.media.cqt import Cqt
from workbench.media.face_trace import FaceTrace
from workbench.media.faces import Faces
from workbench.media.frame_diff import FrameDiff
from workbench.media.frames import Frames
from workbench.media.image import Image
from workbench.media.lfcc import Lfcc
from workbench.media.logspec import Logspec
from workbench.media.mel import Mel
from workbench.media.waveform import Waveform

AnyView = Annotated[
    Mel
    | Logspec
    | Cqt
    | Lfcc
    | Waveform
    | Features
    | Frames
    | FrameDiff
    | Faces
    | FaceTrace
    | Image,
    Field(discriminator="kind"),
]
