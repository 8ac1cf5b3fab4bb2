"""Waiting for a database or a server that does not answer, so that its loss costs only time."""

import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from workbench.console import say
from workbench.errors import StoreError
from workbench.tables import duration

T = TypeVar("T")

MOST_WAITED_S = 3600.0
"""How long one outage is waited for."""

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 10.0


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error, then what it came of."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


class Patience:
    """Repeats what fails because `what` does not answer, until it does.

    Args:
        what: Names it in sentences: `the MLflow server at http://...`.
        why_away: Returns in a few words why it did not answer, of an error that says that; an empty
            text of any other error.
        back: Called when it answers again and before anything is repeated; it may raise as well.
    """

    def __init__(
        self,
        what: str,
        why_away: Callable[[BaseException], str],
        *,
        back: Callable[[], None] = lambda: None,
    ) -> None:
        self._what, self._why_away, self._back = what, why_away, back
        self._has_given_up = False

    def keep_trying(
        self, attempt: Callable[[], T], done: Callable[[], T | None] = lambda: None
    ) -> T:
        """Return what `attempt` returns, which is called again after each outage.

        Args:
            attempt: Called at least once.
            done: Called before each repetition. The answer may have been lost and not the request:
                what it returns, unless None, is what `attempt` would have.

        Raises:
            StoreError: the outage takes too long, or one before it did.
        """
        try:
            result = attempt()
        except Exception as error:
            if not (why := self._why_away(error)):
                raise
            if self._has_given_up:
                raise self._give_up(why) from error
        else:
            self._has_given_up = False  # it is well again: the next outage is waited for
            return result
        try:
            return self._repeat(attempt, done)
        except KeyboardInterrupt:
            self._has_given_up = True  # else whatever is tidied up now would wait as well
            raise

    def _repeat(self, attempt: Callable[[], T], done: Callable[[], T | None]) -> T:
        began, said, pause_s = time.monotonic(), False, _FIRST_PAUSE_S
        while True:
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            try:
                self._back()
                found = done()
                result = attempt() if found is None else found
            except Exception as error:
                if not (why := self._why_away(error)):
                    raise
                if time.monotonic() - began > MOST_WAITED_S:
                    raise self._give_up(why) from error
                if not said:  # not the first time: that is a lost connection, which is made anew
                    said = True
                    say(
                        f"{self._what} does not answer ({why}). It is waited for, "
                        f"{duration(MOST_WAITED_S)} at most; what trains goes on to the end of its "
                        "epoch. Ctrl-C twice ends it; the same command then goes on."
                    )
            else:
                if said:
                    waited = duration(time.monotonic() - began)
                    say(f"{self._what} answers again, after {waited}: nothing is lost.")
                return result

    def _give_up(self, why: str) -> StoreError:
        self._has_given_up = True
        return StoreError(
            f"{self._what} does not answer ({why}). See that it runs; the same command then goes "
            "on."
        )
