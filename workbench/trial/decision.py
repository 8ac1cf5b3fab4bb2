"""How a trial goes on after an epoch: decided by a scheduler, carried out where it trains."""

from typing import Literal

Decision = Literal["go on", "pause", "prune"]
"""Train the next epoch; stop, and keep what is needed to go on later; stop for good."""
