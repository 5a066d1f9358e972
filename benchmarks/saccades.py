"""N-MNIST simulated: what an event camera sees of an MNIST digit that moves as the real ones moved.

    python benchmarks/saccades.py [--data folder] [--count 1000]

compares the simulated samples of the first digits with the real ones of the same digits. The path was
measured on real samples (their event maps against the digits, in windows of 5 ms, no labels), the
threshold fitted to their number of events. ``simulated`` is what ``nmnist_training.py`` trains on.

A pixel remembers the logarithm of its brightness at its last event, and emits one whenever the
present one is a threshold away: polarity 0 where it has grown, 1 where it has fallen, as in N-MNIST.
Thresholds differ by 10 % between pixels and polarities, and by as much anew after each event; events
of one pixel are 1 ms apart at least; noise adds some 180 events a sample.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
from pathlib import Path

import numpy as np
import numpy.typing as npt
from networks import data_folder

from snndeploy.simulate.jit import compiled

Array = npt.NDArray[np.generic]
SIDE = 34
PIXELS = 2 * SIDE * SIDE
DURATION = 310.0
"""Milliseconds."""
_THRESHOLD, _MISMATCH, _JITTER, _LEAST = 0.0271, 0.1, 0.1, 0.3
_REFRACTORY = 1.0
_NOISE, _FALLING = 5e-4, 0.6
_MOST = 40_000
_STEP_PIXELS, _STEP_MS = 0.12, 8.0
_X = """
    -2.58 -2.64 -2.79 -2.78 -2.73 -2.38 -1.93 -1.31 -0.98 -1.09 -1.09 -0.91 -0.55 -0.04 0.64 1.17
    1.65 1.90 2.15 2.23 2.68 2.81 2.73 2.62 1.97 0.97 0.04 -0.90 -1.66 -2.06 -2.16 -2.16"""
_Y = """
    -1.79 -1.68 -1.18 -0.47 0.54 1.48 2.56 2.98 3.28 3.42 3.44 3.56 3.38 3.01 2.35 1.34
    0.13 -0.74 -1.27 -1.49 -1.96 -1.85 -1.73 -1.89 -1.66 -1.62 -1.71 -1.77 -1.72 -1.92 -1.91 -1.91"""
_PATH = np.array([_X.split(), _Y.split()], dtype=np.float64)
"""Right and down: the digit's centre every 10 ms, in pixels."""


def path() -> tuple[Array, Array]:
    """Times (ms) and positions ``(steps, 2)`` of the digit; close where it moves fast."""
    fine = np.arange(0.0, DURATION + 0.05, 0.1)
    knots = 10.0 * np.arange(_PATH.shape[1])
    places = np.stack([np.interp(fine, knots, axis) for axis in _PATH], axis=1)
    kept = [0]
    for i in range(1, len(fine)):
        moved = float(np.hypot(*(places[i] - places[kept[-1]])))
        if moved >= _STEP_PIXELS or fine[i] - fine[kept[-1]] >= _STEP_MS:
            kept.append(i)
    return fine[kept], places[kept]


def brightness(digits: Array) -> Array:
    """Logarithms of brightness ``(samples, 34, 34)`` of digits ``(samples, 28, 28)`` in 0 … 255."""
    field = np.zeros((len(digits), SIDE, SIDE))
    field[:, 3:31, 3:31] = (digits.reshape(-1, 28, 28) / 255.0) ** 2.2
    taps = np.exp(-0.5 * (np.arange(-2, 3) / 0.5) ** 2)
    taps /= taps.sum()
    for axis in (1, 2):
        moved = [np.roll(field, k, axis) * taps[k + 2] for k in range(-2, 3)]
        field = np.sum(moved, axis=0)
    return np.log1p(field / 5.0)


@compiled
def _seen(
    image: Array, times: Array, places: Array, seed: int, pixels: Array, stamps: Array
) -> int:
    """Events of one digit into ``pixels`` and ``stamps``, unsorted; returns how many."""
    np.random.seed(seed)
    count = 0
    for y in range(SIDE):
        for x in range(SIDE):
            own = np.empty(2)
            for p in range(2):
                own[p] = _THRESHOLD * max(_LEAST, 1 + _MISMATCH * np.random.normal())
            up = own[0] * max(_LEAST, 1 + _JITTER * np.random.normal())
            down = own[1] * max(_LEAST, 1 + _JITTER * np.random.normal())
            last = -_REFRACTORY
            before = reference = 0.0
            for step in range(len(times)):
                fy, fx = y - places[step, 1], x - places[step, 0]
                iy, ix = int(np.floor(fy)), int(np.floor(fx))
                fy, fx = fy - iy, fx - ix
                now = 0.0
                for dy in range(2):
                    for dx in range(2):
                        if 0 <= iy + dy < SIDE and 0 <= ix + dx < SIDE:
                            share = (fy if dy else 1 - fy) * (fx if dx else 1 - fx)
                            now += share * image[iy + dy, ix + dx]
                if step == 0:
                    before = now
                    reference = now + _THRESHOLD * (np.random.random() - 0.5)
                    continue
                start, stop = times[step - 1], times[step]
                for _ in range(8):
                    rising = now - reference >= up
                    if not rising and reference - now < down:
                        break
                    level = reference + up if rising else reference - down
                    at = stop
                    if now != before:
                        at = start + (stop - start) * (level - before) / (now - before)
                    at = max(at, start, last + _REFRACTORY)
                    if at > stop:
                        break
                    if count < len(pixels):
                        pixels[count] = (0 if rising else SIDE * SIDE) + y * SIDE + x
                        stamps[count] = at
                        count += 1
                    last, reference = at, level
                    if rising:
                        up = own[0] * max(_LEAST, 1 + _JITTER * np.random.normal())
                    else:
                        down = own[1] * max(_LEAST, 1 + _JITTER * np.random.normal())
                before = now
    for _ in range(np.random.poisson(_NOISE * SIDE * SIDE * DURATION)):
        if count < len(pixels):
            falling = np.random.random() < _FALLING
            pixels[count] = (SIDE * SIDE if falling else 0) + np.random.randint(0, SIDE * SIDE)
            stamps[count] = np.random.random() * DURATION
            count += 1
    return count


def simulated(digits: Array, first: int) -> tuple[Array, Array, Array]:
    """Events of digits ``(samples, 28, 28)``: pixels in order of time, offsets, and times in ms.

    ``first`` is the number of the first digit: a digit's events are the same wherever it is asked for.
    A pixel's number is ``polarity · 34² + y · 34 + x``.
    """
    times, places = path()
    pixels, stamps = np.empty(_MOST, np.uint16), np.empty(_MOST)
    found, when, offsets = [], [], [0]
    for i, image in enumerate(brightness(digits)):
        n = _seen(image, times, places, first + i, pixels, stamps)
        order = np.argsort(stamps[:n], kind="stable")
        found.append(pixels[:n][order].copy())
        when.append(stamps[:n][order].astype(np.float32))
        offsets.append(offsets[-1] + n)
    return np.concatenate(found), np.array(offsets), np.concatenate(when)


def mnist(data: Path, split: str) -> tuple[Array, Array]:
    """Digits ``(samples, 28, 28)`` in 0 … 255, and labels."""
    stem = data / "mnist" / {"train": "train", "test": "t10k"}[split]
    with gzip.open(f"{stem}-images-idx3-ubyte.gz") as file:
        images = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 28, 28)
    with gzip.open(f"{stem}-labels-idx1-ubyte.gz") as file:
        return images, np.frombuffer(file.read(), np.uint8, offset=8).astype(np.int64)


def real(data: Path) -> tuple[Array, Array, Array, Array]:
    """The 1,100 real samples: MNIST train 0 … 999 and test 0 … 99; pixels, offsets, times, labels."""
    with np.load(data / "nmnist_small" / "nmnist_small.npz", allow_pickle=False) as file:
        x, y, p = (file[k].astype(np.int64) for k in "xyp")
        pixels = (p * SIDE * SIDE + y * SIDE + x).astype(np.uint16)
        return pixels, file["offset"], file["t_us"] / 1000.0, file["label"].astype(np.int64)


def _maps(pixels: Array, offsets: Array, count: int) -> Array:
    spans = list(itertools.pairwise(offsets))[:count]
    return np.array([np.bincount(pixels[a:b], minlength=PIXELS) for a, b in spans], np.float64)


def main() -> None:
    """Compare with the real samples of the same digits."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=data_folder())
    parser.add_argument("--count", type=int, default=1000)
    options = parser.parse_args()
    n = options.count
    theirs = real(options.data)
    mine = simulated(mnist(options.data, "train")[0][:n], 0)
    told = {}
    for name, (pixels, offsets, times, *_) in {"real": theirs, "simulated": mine}.items():
        counts = np.diff(offsets)[:n]
        last = int(offsets[n])
        maps = _maps(pixels, offsets, n)
        told[name] = maps, counts, np.histogram(times[:last], np.arange(0, 301, 10))[0]
        print(
            f"{name}: events {counts.mean():.0f} ± {counts.std():.0f}, falling "
            f"{(pixels[:last] >= SIDE * SIDE).mean():.3f}, active pixels {(maps > 0).sum(1).mean():.0f}"
        )
    (a, events, hist), (b, other, found) = told["real"], told["simulated"]
    centred = [m - m.mean(1, keepdims=True) for m in (a, b)]
    unit = [m / np.linalg.norm(m, axis=1, keepdims=True) for m in centred]
    alike = unit[0] @ unit[1].T
    print(f"events of a sample, correlation {np.corrcoef(events, other)[0, 1]:.3f}")
    print(f"events per 10 ms, correlation {np.corrcoef(hist, found)[0, 1]:.3f}")
    print(f"map of a sample, correlation {np.diag(alike).mean():.3f} (others {alike.mean():.3f})")
    print(f"its own simulated one is the nearest: {(alike.argmax(1) == np.arange(n)).mean():.1%}")


if __name__ == "__main__":
    main()
