"""torch's operations as linear maps of signals, and those that are none."""

from .reading import SignalReading
from .table import LINEAR, MOVES, WITHOUT_VALUES, lost, signals_of

__all__ = ["LINEAR", "MOVES", "WITHOUT_VALUES", "SignalReading", "lost", "signals_of"]
