"""How long a trial takes."""

import time


class TrialClock:
    """How long a trial took, in all the goes that its epochs are of."""

    def __init__(self) -> None:
        self.go_on(after_s=0.0)

    def go_on(self, *, after_s: float) -> None:
        """Count from now, after so many seconds."""
        self._before_s, self._since = after_s, time.monotonic()

    def seconds(self) -> float:
        """Return the seconds so far."""
        return self._before_s + time.monotonic() - self._since
