import subprocess
import sys

import pytest
import torch

from workbench.parts.torchvision_fix import ensure_torchvision, import_timm

BROKEN = """
import sys
from workbench.parts.torchvision_fix import ensure_torchvision

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "torchvision":
            raise RuntimeError("torchvision was built for another planet")

sys.meta_path.insert(0, Finder())
ensure_torchvision()
"""


def test_torchvision_and_timm_import_in_any_case() -> None:
    sentence = ensure_torchvision()
    assert sentence == ensure_torchvision()
    assert hasattr(sys.modules["torchvision"], "ops")
    assert import_timm().is_model("resnet18")


def test_the_sentence_names_the_situation_where_there_is_one() -> None:
    sentence = ensure_torchvision()
    if torch.version.cuda is not None:
        assert sentence is None
    elif sentence is None:
        pytest.skip("torchvision is a CPU build, as torch is")
    else:
        assert "CPU build beside a CUDA build of torchvision" in sentence


def test_another_error_of_torchvision_is_not_hidden() -> None:
    done = subprocess.run(
        [sys.executable, "-c", BROKEN], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "RuntimeError: torchvision was built for another planet" in done.stderr
