"""Waiting for what does not answer."""

import pytest

from workbench import patience
from workbench.errors import StoreError
from workbench.patience import Patience


@pytest.fixture
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench.patience.time.sleep", lambda seconds: None)


def why(error: BaseException) -> str:
    return "it is away" if isinstance(error, ConnectionError) else ""


def test_an_outage_is_told_once_and_waited_for(
    no_pause: None, capsys: pytest.CaptureFixture[str]
) -> None:
    outages = [ConnectionError(), ConnectionError(), ConnectionError()]

    def attempt() -> int:
        if outages:
            raise outages.pop()
        return 7

    assert Patience("It", why).keep_trying(attempt) == 7
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert said[0].startswith("It does not answer (it is away). ")
    assert said[1].startswith("It answers again")


def test_what_was_done_before_the_answer_was_lost_is_not_done_again(no_pause: None) -> None:
    done: list[str] = []

    def attempt() -> str:
        done.append("entered")
        raise ConnectionError

    assert Patience("It", why).keep_trying(attempt, lambda: done[0]) == "entered"
    assert done == ["entered"]


def test_any_other_error_is_raised_at_once() -> None:
    def attempt() -> None:
        raise KeyError("no outage")

    with pytest.raises(KeyError):
        Patience("It", why).keep_trying(attempt)


def test_an_outage_that_took_too_long_is_not_waited_for_again(
    no_pause: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "MOST_WAITED_S", -1.0)
    calls = []

    def attempt() -> None:
        calls.append(1)
        raise ConnectionError

    patient = Patience("It", why)
    with pytest.raises(StoreError, match="It does not answer"):
        patient.keep_trying(attempt)
    monkeypatch.setattr(patience, "MOST_WAITED_S", 3600.0)
    with pytest.raises(StoreError, match="It does not answer"):
        patient.keep_trying(attempt)
    assert len(calls) == 3  # the last of them once


def test_after_it_was_well_again_the_next_outage_is_waited_for(
    no_pause: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "MOST_WAITED_S", -1.0)
    patient, errors = Patience("It", why), [ConnectionError() for _ in range(2)]

    def attempt() -> int:
        if errors:
            raise errors.pop()
        return 7

    with pytest.raises(StoreError):
        patient.keep_trying(attempt)
    assert patient.keep_trying(attempt) == 7
    monkeypatch.setattr(patience, "MOST_WAITED_S", 3600.0)
    errors.append(ConnectionError())
    assert patient.keep_trying(attempt) == 7


def test_ctrl_c_while_it_tries_again_ends_it_too(no_pause: None) -> None:
    errors: list[BaseException] = [ConnectionError(), KeyboardInterrupt(), ConnectionError()]

    def attempt() -> None:
        raise errors.pop(0)

    patient = Patience("It", why)
    with pytest.raises(KeyboardInterrupt):
        patient.keep_trying(attempt)
    with pytest.raises(StoreError):
        patient.keep_trying(attempt)
    assert errors == []


def test_ctrl_c_ends_the_wait_and_all_later_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("workbench.patience.time.sleep", interrupted)

    def attempt() -> None:
        raise ConnectionError

    patient = Patience("It", why)
    with pytest.raises(KeyboardInterrupt):
        patient.keep_trying(attempt)
    with pytest.raises(StoreError):
        patient.keep_trying(attempt)
