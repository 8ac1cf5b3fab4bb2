import os
import pickle
import socket
import subprocess
import sys
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from PIL import Image as Pillow
from pydantic import TypeAdapter, ValidationError

from tests.media.clips import chirp, decode, write_media
from workbench.data.view_store import ViewStore
from workbench.errors import MediaError
from workbench.media.frames import Frames
from workbench.media.image import Image
from workbench.media.mel import Mel
from workbench.media.source import Status
from workbench.media.view import View
from workbench.media.views import AnyView

VIEWS: list[View] = [
    Mel(num_mels=32, image_px=48),
    Frames(num_frames=3, image_px=32),
    Image(image_px=40),
]
NAMES = [view.kind for view in VIEWS]


@pytest.fixture
def files(clip: Path, tmp_path: Path) -> dict[str, Path]:
    """A readable file for each kind of view."""
    picture = tmp_path / "x.png"
    Pillow.new("RGB", (10, 20), (255, 0, 0)).save(picture)
    return {"mel": clip, "frames": clip, "image": picture}


def status_of(view: View, path: Path) -> str:
    with pytest.raises(MediaError) as caught:
        decode(view, path)
    assert caught.value.status in get_args(Status)
    assert path.name not in str(caught.value)  # copies of a file share its reason
    return caught.value.status


@pytest.mark.parametrize("view", VIEWS, ids=NAMES)
def test_a_file_becomes_bytes_of_the_views_shape(view: View, files: dict[str, Path]) -> None:
    array = decode(view, files[view.kind])
    assert array.shape == view.stored_shape
    assert array.dtype == view.dtype
    assert np.array_equal(array, decode(view, files[view.kind]))


def test_the_shapes_are_frames_height_width_channels() -> None:
    assert Mel().shape == (1, 256, 256, 1)
    assert Frames().shape == (4, 224, 224, 3)
    assert Image().shape == (1, 224, 224, 3)


def test_colours_are_red_green_blue(files: dict[str, Path], tmp_path: Path) -> None:
    assert decode(Image(), files["image"])[0, 0, 0, 0].tolist() == [255, 0, 0]
    red = np.zeros((3, 48, 64, 3), np.uint8)
    red[..., 0] = 255
    path = write_media(tmp_path / "red.mp4", pictures=red)
    pixel = decode(Frames(num_frames=1), path)[0, 0, 0, 0]
    assert pixel[0] > 240
    assert max(pixel[1:]) < 15


def test_the_neutral_sound_is_black_and_the_neutral_picture_grey() -> None:
    for view, level in zip(VIEWS, (0, 128, 128), strict=True):
        neutral = view.neutral()
        assert neutral.shape == view.stored_shape
        assert neutral.dtype == np.uint8
        assert (neutral == level).all()


def test_the_uids_are_pinned() -> None:
    # A changed uid decodes every data set again: pin a new one only with a new version.
    uids = [view.uid for view in (Mel(), Frames(), Image())]
    assert uids == ["fec107278a23", "15a704a25a7e", "3f28c24696c7"]


def test_the_views_of_studies_that_were_begun_before_keep_their_uids() -> None:
    # Their arrays and the names of their trials hang on them. `align` came later, and is off.
    uids = [view.uid for view in (Mel(version=1), Frames(version=1), Image(version=1))]
    assert uids == ["26cd1887d2aa", "442674e5c4e2", "208b43dece11"]


@pytest.mark.parametrize("kind", ["mel", "logspec", "cqt", "waveform", "features"])
def test_a_sound_on_the_clips_clock_is_stored_apart(kind: str, tmp_path: Path) -> None:
    view = TypeAdapter(AnyView).validate_python({"kind": kind})
    aligned = TypeAdapter(AnyView).validate_python({"kind": kind, "align": True})
    folders = {ViewStore(tmp_path, one).folder for one in (view, aligned)}
    assert len(folders) == 2
    assert "align" not in view.identity()
    assert view.model_copy(update={"align": False}).uid == view.uid


@pytest.mark.parametrize(
    ("view", "change"),
    [
        (Mel(), {"num_mels": 64}),
        (Mel(), {"image_px": 128}),
        (Mel(), {"version": 1}),
        (Mel(), {"align": True}),
        (Frames(), {"num_frames": 5}),
        (Frames(), {"image_px": 128}),
        (Frames(), {"version": 1}),
        (Image(), {"image_px": 128}),
        (Image(), {"version": 1}),
    ],
)
def test_another_setting_or_version_is_another_uid(view: View, change: dict[str, int]) -> None:
    assert view.model_copy(update=change).uid != view.uid


def test_a_default_written_out_is_the_same_view() -> None:
    assert Mel(num_mels=128).uid == Mel().uid


@pytest.mark.parametrize(
    ("settings", "wrong"),
    [
        ({"kind": "mel", "num_mels": 8}, "num_mels"),
        ({"kind": "mel", "num_mels": 257}, "num_mels"),
        ({"kind": "mel", "image_px": 15}, "image_px"),
        ({"kind": "mel", "version": 99}, "version"),
        ({"kind": "frames", "num_frames": 0}, "num_frames"),
        ({"kind": "frames", "num_frames": 65}, "num_frames"),
        ({"kind": "frames", "image_px": 2048}, "image_px"),
        ({"kind": "image", "num_frames": 2}, "num_frames"),
        ({"kind": "smell"}, "kind"),
    ],
)
def test_settings_out_of_bounds_are_refused(settings: dict[str, object], wrong: str) -> None:
    with pytest.raises(ValidationError, match=wrong):
        TypeAdapter(AnyView).validate_python(settings)


def test_every_view_is_chosen_by_its_kind_and_crosses_processes() -> None:
    for view in VIEWS:
        assert TypeAdapter(AnyView).validate_python(view.model_dump()) == view
        assert pickle.loads(pickle.dumps(view)) == view


@pytest.mark.parametrize("view", VIEWS, ids=NAMES)
def test_a_file_that_is_no_media_has_a_status(view: View, tmp_path: Path) -> None:
    empty = tmp_path / "empty.mp4"
    empty.touch()
    text = tmp_path / "text.mp4"
    text.write_text("this is no media file\n" * 100)
    assert status_of(view, tmp_path / "absent.mp4") == "missing"
    assert status_of(view, text / "inside.mp4") == "missing"
    assert status_of(view, tmp_path) == "missing"
    assert status_of(view, empty) == "empty"
    assert status_of(view, text) == "broken"


@pytest.mark.parametrize("view", VIEWS, ids=NAMES)
def test_a_pipe_is_not_waited_for(view: View, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    assert status_of(view, tmp_path / "pipe.mp4") == "missing"


@pytest.mark.parametrize("view", VIEWS, ids=NAMES)
def test_random_bytes_in_a_file_never_raise_anything_else(
    view: View, files: dict[str, Path], tmp_path: Path
) -> None:
    good = files[view.kind].read_bytes()
    random = np.random.default_rng(0)
    path = tmp_path / "x"
    outcomes = set()
    for _ in range(40):
        content = bytearray(
            good[: random.integers(1, len(good))] if random.random() < 0.3 else good
        )
        for at in random.integers(0, min(len(content), 2_000), 10):
            content[at] = random.integers(256)
        path.write_bytes(bytes(content))
        try:
            assert decode(view, path).shape == view.stored_shape
            outcomes.add("ok")
        except MediaError as error:
            outcomes.add(error.status)
    assert "broken" in outcomes
    assert outcomes <= {"ok", *get_args(Status)}


@pytest.mark.parametrize("view", [VIEWS[0], VIEWS[1]], ids=NAMES[:2])
def test_a_playlist_opens_no_other_file(view: View, clip: Path, tmp_path: Path) -> None:
    concat = tmp_path / "concat.mp4"
    concat.write_text(f"ffconcat version 1.0\nfile '{clip.name}'\n")
    hls = tmp_path / "hls.mp4"
    hls.write_text(
        "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:0\n"
        f"#EXTINF:2.0,\n{clip.name}\n#EXT-X-ENDLIST\n"
    )
    (tmp_path / clip.name).write_bytes(clip.read_bytes())
    assert status_of(view, concat) == "broken"
    assert status_of(view, hls) == "broken"


LISTS = {
    "m3u": "#EXTM3U\n{}\n",
    "m3u8 with a key": '#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-KEY:METHOD=AES-128,URI="{}"\n'
    "#EXTINF:2.0,\n{}\n#EXT-X-ENDLIST\n",
    "m3u8 of lists": "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{}\n",
    "concat": "ffconcat version 1.0\nfile '{}'\n",
    "pls": "[playlist]\nFile1={}\nNumberOfEntries=1\n",
    "xspf": '<?xml version="1.0"?><playlist><trackList><track><location>{}</location></track>'
    "</trackList></playlist>",
    "asx": '<asx version="3.0"><entry><ref href="{}"/></entry></asx>',
    "mpd": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
    'mediaPresentationDuration="PT1S"><Period><AdaptationSet mimeType="video/mp4">'
    '<Representation id="1" bandwidth="1"><BaseURL>{}</BaseURL></Representation>'
    "</AdaptationSet></Period></MPD>",
    "smil": '<smil><body><video src="{}"/></body></smil>',
    "ram": "{}\n",
    "reference movie": "RTSPtext\n{}\n",
    "imf": '<?xml version="1.0"?><CompositionPlaylist><Id>{}</Id></CompositionPlaylist>',
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns={}\nm=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
    "avisynth": 'DirectShowSource("{}")\n',
    "svg": '<svg xmlns="http://www.w3.org/2000/svg"><image href="{}"/></svg>',
}


@pytest.mark.parametrize("ending", ["mp4", "m3u8", "wav"])
@pytest.mark.parametrize("view", [VIEWS[0], VIEWS[1]], ids=NAMES[:2])
def test_a_list_of_any_form_opens_neither_a_file_nor_an_address(
    view: View, ending: str, clip: Path, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        addresses = (clip, f"file:{clip}", f"http://127.0.0.1:{server.getsockname()[1]}/a.mp4")
        for name, text in LISTS.items():
            for number, address in enumerate(addresses):
                path = tmp_path / f"{name} {number}.{ending}"
                path.write_text(text.replace("{}", str(address)))
                assert status_of(view, path) == "broken", path.name
        with pytest.raises(BlockingIOError):
            server.accept()


def test_a_name_is_never_taken_for_a_protocol(clip: Path, tmp_path: Path) -> None:
    odd = tmp_path / "concat:a|b %d [x].mp4"
    odd.write_bytes(clip.read_bytes())
    here = Path.cwd()
    os.chdir(tmp_path)
    try:
        assert decode(VIEWS[1], Path(odd.name)).shape == VIEWS[1].stored_shape
    finally:
        os.chdir(here)


def test_broken_files_leave_the_terminal_clean(clip: Path, tmp_path: Path) -> None:
    content = clip.read_bytes()
    middle = len(content) // 2
    (tmp_path / "scratched").write_bytes(
        content[:middle] + bytes(2_000) + content[middle + 2_000 :]
    )
    (tmp_path / "cut").write_bytes(content[:3_000])
    # In a process of its own: pytest would keep what goes through Python's logging.
    code = f"""
from pathlib import Path
from workbench.errors import MediaError
from workbench.media.frames import Frames
from workbench.media.image import Image
from workbench.media.mel import Mel
from tests.media.clips import decode
for path in Path({str(tmp_path)!r}).iterdir():
    for view in (Mel(), Frames(), Image()):
        try:
            decode(view, path)
        except MediaError as error:
            print(path.name, view.kind, error.status)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    broken = {f"cut {view.kind} broken" for view in VIEWS} | {"scratched image broken"}
    assert set(ran.stdout.splitlines()) == broken
    assert ran.stderr == ""


def test_a_video_and_its_sound_alone_share_a_picture(tmp_path: Path) -> None:
    sound = chirp(1.0)
    alone = write_media(tmp_path / "x.m4a", sound=sound)
    inside = write_media(
        tmp_path / "x.mp4", sound=sound, pictures=np.zeros((5, 48, 64, 3), np.uint8)
    )
    assert np.array_equal(decode(Mel(), alone), decode(Mel(), inside))
