"""CIFAR-10 for the benchmarks, and a VGG-9 with narrow layers to train on it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from snndeploy.ir.ops import Conv, Dense, Op, Reshape, SumPool

Array = npt.NDArray[Any]


def cifar10(folder: Path, split: str, count: int = 0) -> tuple[Array, Array]:
    """Images ``(samples, 3, 32, 32)`` in -1…1, and their classes; the first ``count`` (0: all).

    The files hold JPEGs one after the other, class by class, which Pillow decodes; here they come in one
    order at random, so that the first ones are a sample of all. Values are centred: without a norm in
    between, nine layers learn much faster from them.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise SystemExit("CIFAR-10 is stored as JPEG: pip install pillow") from error
    with np.load(folder / f"cifar10_jpeg_{split}.npz", allow_pickle=False) as file:
        data, offset, labels = file["jpeg"].tobytes(), file["offset"], file["label"]
    chosen = np.random.default_rng(0).permutation(len(labels))[: count or None]
    images = np.empty((len(chosen), 32, 32, 3), np.uint8)
    for place, i in enumerate(chosen):
        with Image.open(io.BytesIO(data[offset[i] : offset[i + 1]])) as image:
            images[place] = np.asarray(image.convert("RGB"))
    x = images.transpose(0, 3, 1, 2).astype(np.float32) / 127.5 - 1
    return x, labels[chosen].astype(np.int64)


def vgg9(first: int) -> tuple[tuple[Op, ...], ...]:
    """Eight convolutions, ``first`` kernels in the first and up to eight times as many, and a readout.

    Widths relative to each other are those of the VGG-9 of Chowdhury et al. (2021), whose first one
    is 64; a quarter of it trains on two cores in minutes.
    """
    widths = [first * k for k in (1, 2, 2, 4, 4, 8, 8, 8)]
    pooled = {2, 4, 6}  # a pool in front of these
    layers: list[tuple[Op, ...]] = []
    channels = 3
    for i, width in enumerate(widths):
        conv = Conv(width, channels, (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 1)
        layers.append((SumPool((2, 2), (2, 2)), conv) if i in pooled else (conv,))
        channels = width
    flat = channels * 4 * 4
    return (*layers, (Reshape((flat,)), Dense(10, flat)))
