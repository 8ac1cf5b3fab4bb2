"""What fits into the time that a search has left, by what trials are forecast to take."""

from collections.abc import Sequence

from workbench.search.costs import Prediction
from workbench.search.forecast import Forecast
from workbench.search.running import Ended, Running
from workbench.search.stopping import Limits
from workbench.trial.recipe import Recipe


class TimeLeft:
    """Weighs forecasts against a deadline.

    Args:
        limits: Of the search.
        forecast: Of what its trials take.
    """

    def __init__(self, limits: Limits, forecast: Forecast) -> None:
        self._limits, self._forecast = limits, forecast

    def is_short_for(self, seconds: float) -> bool:
        """Return whether what is expected to take so long is not expected to end in time."""
        return self._forecast.is_used and self._limits.too_late(seconds)

    def is_short_for_usual(self, complete: Sequence[Ended]) -> bool:
        """Return whether a trial that takes the median is not expected to end in time."""
        took = sorted(ended.seconds for ended in complete)
        usual = took[len(took) // 2] if took else 0.0
        return self.is_short_for(usual)

    def seconds_of(self, recipe: Recipe) -> float:
        """Return what a trial is expected to take; 0 if nothing is known."""
        expected = self._forecast.of(recipe)
        return expected.seconds if expected else 0.0

    def seconds_left(self, running: Running) -> float:
        """Return what a trial is expected to take from here on; 0 if nothing is known."""
        expected = self._forecast.of(running.recipe, running.epochs)
        return expected.seconds if expected else 0.0

    def shown(self, running: Running) -> Prediction | None:
        """Return what a trial is expected to take, if forecasts are good enough to be shown."""
        expected = self._forecast.of(running.recipe, running.epochs)
        return expected if self._forecast.is_shown else None
