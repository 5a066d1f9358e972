"""Samples from files, folders and public data sets, read when they are needed."""

from .feed import Feed, input_shapes
from .load import load_samples
from .samples import Samples, SampleSource
from .signs import split_signs
from .trains import TrainEncoding

__all__ = [
    "Feed",
    "SampleSource",
    "Samples",
    "TrainEncoding",
    "input_shapes",
    "load_samples",
    "split_signs",
]
