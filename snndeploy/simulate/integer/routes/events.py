"""Compiled kernels for event-driven synapses: every spike adds its weights, silence costs nothing.

`collect` lists what a tile of steps and samples receives; `add_rows`, `add_windows` and `add_entries`
add it up for dense layers, convolutions and arbitrary sparse matrices. Sums run modulo 2**32, as the
registers do; where a right shift follows, the caller has proved that they fit.

Shared arguments: trains are ``(steps, samples, neurons)``; a tile is ``count`` steps from ``first``
and the samples ``low`` to ``high``, and its sums ``acc`` are int32 ``(count, high - low, values)``.
Events of place p (step-major) of a tile are ``index[pointer[p]:pointer[p + 1]]``, with ``message``.
"""

from __future__ import annotations

import numpy as np

from ....ir.arrays import Array
from ...jit import compiled


@compiled
def collect_spikes(
    train: Array,
    first: int,
    count: int,
    low: int,
    high: int,
    delay: int,
    pointer: Array,
    index: Array,
) -> None:
    """List the non-zero bytes of a tile, delayed by ``delay`` steps."""
    n = 0
    place = 0
    pointer[0] = 0
    whole = train.shape[2] // 8 * 8
    for t in range(first - delay, first - delay + count):
        for s in range(low, high):
            if t >= 0:
                row = train[t, s]
                words = row[:whole].view(np.uint64)
                for w in range(words.size):
                    if words[w] != 0:
                        for i in range(8 * w, 8 * w + 8):
                            index[n] = i
                            n += row[i] != 0
                for i in range(whole, row.size):
                    index[n] = i
                    n += row[i] != 0
            place += 1
            pointer[place] = n


@compiled
def collect_messages(
    train: Array,
    first: int,
    count: int,
    low: int,
    high: int,
    delay: int,
    delays: Array,
    starts: Array,
    targets: Array,
    graded: bool,
    pointer: Array,
    index: Array,
    message: Array,
) -> None:
    """List the events of a tile in full generality.

    ``delays`` holds the delay of each neuron (those that differ from ``delay`` are skipped; empty: all
    are alike). ``targets[starts[i]:starts[i + 1]]`` are the inputs of the weighted operator that neuron
    i reaches through pools in front of it (empty: itself). ``message`` is written where messages are
    ``graded``; otherwise all of them are 1.
    """
    n = 0
    place = 0
    pointer[0] = 0
    for t in range(first - delay, first - delay + count):
        for s in range(low, high):
            if t >= 0:
                row = train[t, s]
                for i in range(row.size):
                    if row[i] != 0 and (delays.size == 0 or delays[i] == delay):
                        if starts.size == 0:
                            index[n] = i
                            if graded:
                                message[n] = np.int32(row[i])
                            n += 1
                        else:
                            for k in range(starts[i], starts[i + 1]):
                                index[n] = targets[k]
                                if graded:
                                    message[n] = np.int32(row[i])
                                n += 1
            place += 1
            pointer[place] = n


@compiled
def add_rows(
    pointer: Array, index: Array, message: Array, graded: bool, weight: Array, acc: Array
) -> None:
    """Dense: ``weight`` is ``(inputs, outputs)``, int16 or int32."""
    samples = acc.shape[1]
    for place in range(pointer.size - 1):
        row = acc[place // samples, place % samples]
        k, end = pointer[place], pointer[place + 1]
        if graded:
            for e in range(k, end):
                w, m = weight[index[e]], message[e]
                for j in range(row.size):
                    row[j] += np.int32(m * np.int32(w[j]))
            continue
        while k + 4 <= end:  # four at a time: a quarter of the loads and stores of the sums
            w0, w1 = weight[index[k]], weight[index[k + 1]]
            w2, w3 = weight[index[k + 2]], weight[index[k + 3]]
            for j in range(row.size):
                row[j] += np.int32(
                    np.int32(np.int32(w0[j]) + np.int32(w1[j]))
                    + np.int32(np.int32(w2[j]) + np.int32(w3[j]))
                )
            k += 4
        while k < end:
            w0 = weight[index[k]]
            for j in range(row.size):
                row[j] += np.int32(w0[j])
            k += 1


@compiled
def add_windows(
    pointer: Array,
    index: Array,
    message: Array,
    graded: bool,
    weight: Array,
    table: Array,
    shape: Array,
    acc: Array,
) -> None:
    """Convolution, its sums channels-last: ``acc`` is ``(count, samples, places * out channels)``.

    ``weight`` is ``(in channels, phases, rows, columns, out channels per group)``: for an input at a
    given phase of the strides, the taps in the order of the outputs they reach. ``table`` says for each
    place of the input: phase, first place of the output, rows, columns, and the row and column of the
    taps to begin with. ``shape``: output width, groups.
    """
    area = np.int32(table.shape[0])
    out_width, groups = shape[0], shape[1]
    per_group = weight.shape[4]
    channels = per_group * groups
    in_per_group = weight.shape[0] // groups
    samples = acc.shape[1]
    for place in range(pointer.size - 1):
        sums = acc[place // samples, place % samples]
        for e in range(pointer[place], pointer[place + 1]):
            i = index[e]
            m = message[e] if graded else np.int32(1)
            channel = np.int32(i // area)
            row = table[np.int32(i - channel * area)]
            block = weight[channel, row[0]]
            if groups == 1:
                length = row[3] * channels
                for r in range(row[2]):
                    start = (row[1] + r * out_width) * channels
                    target = sums[start : start + length]
                    w = block[row[4] + r].reshape(-1)[row[5] * channels :]
                    if graded:
                        for j in range(length):
                            target[j] += np.int32(m * np.int32(w[j]))
                    else:
                        for j in range(length):
                            target[j] += np.int32(w[j])
            else:
                shift = channel // in_per_group * per_group
                for r in range(row[2]):
                    for c in range(row[3]):
                        start = (row[1] + r * out_width + c) * channels + shift
                        w = block[row[4] + r, row[5] + c]
                        for j in range(per_group):
                            sums[start + j] += np.int32(m * np.int32(w[j]))


@compiled
def add_entries(
    pointer: Array,
    index: Array,
    message: Array,
    graded: bool,
    starts: Array,
    outputs: Array,
    weight: Array,
    acc: Array,
) -> None:
    """Any sparse matrix: input i adds ``weight[k]`` to ``outputs[k]``, k in starts[i]...starts[i+1]."""
    samples = acc.shape[1]
    for place in range(pointer.size - 1):
        sums = acc[place // samples, place % samples]
        for e in range(pointer[place], pointer[place + 1]):
            i = index[e]
            m = message[e] if graded else np.int32(1)
            for k in range(starts[i], starts[i + 1]):
                sums[outputs[k]] += np.int32(m * np.int32(weight[k]))


@compiled
def add_shifted(sums: Array, channels: int, exponent: int, drive: Array) -> None:
    """Add ``sums * 2**exponent`` (floored) to the ``drive`` of the same tile, both int32.

    Sums are channels-last where ``channels`` is more than 1, the drive is channels-first.
    The sums are left at zero, ready for the next tile.
    """
    left, right = max(exponent, 0), max(-exponent, 0)
    places = drive.shape[2] // channels
    for t in range(drive.shape[0]):
        for s in range(drive.shape[1]):
            source, target = sums[t, s], drive[t, s]
            if channels == 1:
                for i in range(target.size):
                    target[i] += np.int32(np.int32(source[i] << left) >> right)
                    source[i] = 0
                continue
            for start in range(0, places, 64):  # blocks of both orders that the first cache holds
                block = source[start * channels : (start + 64) * channels]
                for c in range(channels):
                    column = block[c::channels]
                    row = target[c * places + start : c * places + start + column.size]
                    for i in range(row.size):
                        row[i] += np.int32(np.int32(column[i] << left) >> right)
                        column[i] = 0


@compiled
def add_products(
    products: Array, first: int, low: int, exponent: int, graded: bool, drive: Array
) -> None:
    """Add exact sums ``(steps, samples, values)``, shifted, to a tile that begins at (first, low).

    Sums of graded messages wrap to int32 before the shift. Steps before the first one add nothing.
    """
    for t in range(max(0, -first), drive.shape[0]):
        for s in range(drive.shape[1]):
            source, target = products[first + t, low + s], drive[t, s]
            for j in range(target.size):
                x = np.int64(source[j])
                if graded:
                    x = np.int64(np.int32(x))
                if exponent >= 0:
                    target[j] += np.int32(x << exponent)
                else:
                    target[j] += np.int32(x >> -exponent)
