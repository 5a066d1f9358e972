"""Samples from files, folders and public data sets, read when they are needed."""

from .feed import Feed
from .load import load_samples
from .samples import Samples, SampleSource
from .trains import TrainEncoding

__all__ = ["Feed", "SampleSource", "Samples", "TrainEncoding", "load_samples"]
