"""Samples from files, folders and public data sets, read when they are needed."""

from .feed import Feed
from .load import load_samples
from .samples import Samples, Source
from .trains import Encoding

__all__ = ["Encoding", "Feed", "Samples", "Source", "load_samples"]
