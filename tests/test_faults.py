"""A short storm of faults over the real command; the whole one is `python -m tests.faults`."""

from pathlib import Path

import pytest

from tests.faults import Storm


@pytest.mark.slow(minutes=2.5)
def test_a_halving_search_outlives_kills_a_hang_and_a_full_device(tmp_path: Path) -> None:
    # Most trials end after an epoch: the faults to come need some that do not.
    storm = Storm(tmp_path / "storm", num_trials=16, halving=True)
    storm.kill_some(3)
    storm.let("memory")
    storm.let("hang")
    storm.finish()
    counted = storm.check()
    assert counted["kills"] == 3
    assert "no batch ended for" in storm.said[-1]
    logs = [log.read_text() for log in storm.folder.path.glob("trials/*/log.txt")]
    assert any("out of memory on cpu: CUDA out of memory." in log for log in logs)


@pytest.mark.slow(minutes=2.5)
def test_a_search_outlives_a_kill_a_removed_store_and_media_out_of_reach(tmp_path: Path) -> None:
    storm = Storm(tmp_path / "storm", num_trials=8)
    storm.kill_some(1)
    storm.remove_store()
    assert len(storm.rows()) < 8 or "written anew" in storm.said[-1]
    storm.num_trials += 4
    storm.hide_media()
    storm.finish()
    storm.check()
