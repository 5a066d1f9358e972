"""Time and memory of the second-order solvers: imported by ``second_order.py``."""

from __future__ import annotations

import io
import resource
import sys
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
from structured import vgg16

from snndeploy.passes.base import PassContext, PassEvent
from snndeploy.passes.quantization.prune_quantize import PruneQuantize
from snndeploy.passes.second_order.solve.eliminate import eliminate
from snndeploy.passes.second_order.solve.least_squares import quadratic
from snndeploy.passes.second_order.solve.rounding import CodeRounding
from snndeploy.passes.second_order.solve.sweep import column_order, sweep

Array = npt.NDArray[np.generic]
ROWS = 512
SPARSITY = 0.9
_AT_ONCE = 1 << 28
"""Bytes for the matrices of the rows that are pruned together."""


def speed(sizes: list[int], reference_steps: int) -> None:
    """Layers of 512 rows against the published algorithms row by row: CPU seconds at equal loss.

    Of large layers only some rows are pruned by ours (as many as are worked on at once), and only some
    steps are timed of the references, whose cost per step does not depend on the step.
    """
    import torch

    sys.path.insert(0, str(Path(__file__).parents[1]))
    from tests.support.second_order_references import gptq_rank_one, obs_row

    print(
        "| columns | prune, ms/row | reference | ratio | loss | quantise 512 rows, s | reference "
        "| ratio | loss | MiB for the layer | 6 d² and rows, MiB |"
    )
    print("|---" * 11 + "|", flush=True)
    timed = []
    for d in sizes:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        rng = np.random.default_rng(0)
        x = rng.random((2 * d, d)) * (rng.random((2 * d, d)) < 0.2)
        w = rng.normal(size=(ROWS, d)) / np.sqrt(d)
        hessian = 2 * x.T @ x / len(x)
        del x
        q = quadratic(hessian, w)
        n = max(1, min(32, _AT_ONCE // (3 * 8 * d * d)))
        eliminate(q.best[:1], q.inverse, steps=2)  # compiles
        steps = int(SPARSITY * d)
        began = time.process_time()
        ours = eliminate(q.best[:n], q.inverse, steps=steps)
        ours_row = (time.process_time() - began) / n
        timed.append((d, ours_row))
        few = min(steps, reference_steps)
        grid = np.abs(w).max(axis=1) / 7
        rounding = CodeRounding(torch.tensor(grid)[:, None].repeat(1, d), -7, 7, False)
        few_rows = quadratic(hessian[:8, :8], w[:, :8])
        sweep(few_rows, CodeRounding(rounding.scale[:, :8].clone(), -7, 7, False))  # compiles
        began = time.process_time()
        codes, _ = sweep(q, rounding, order="inverse")
        fast_sweep = time.process_time() - began
        peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        began = time.process_time()
        np.linalg.inv(q.hessian.numpy())
        inversion = time.process_time() - began  # both references begin with it
        began = time.process_time()
        _, losses, _ = obs_row(w[0], q.hessian.numpy(), few)
        slow = (time.process_time() - began - inversion) * steps / few
        loss = float(ours.losses[0, :few].sum()) / sum(losses)
        turn = column_order(q, "inverse").numpy()
        columns = d if d <= 1024 else few
        began = time.process_time()
        explicit = gptq_rank_one(w, q.hessian.numpy(), grid, 7, turn[:columns])
        spent = time.process_time() - began - inversion
        sweep_slow = inversion + spent * d / columns
        done = turn[:columns]
        sweep_loss = float(
            np.abs(codes.numpy()[:, done] - explicit[:, done]).max() < 1e-6
            if columns < d
            else q.loss(codes).sum() / q.loss(torch.tensor(explicit)).sum()
        )
        bound = (6 * d * d + ROWS * d) * 8 / 2**20 + n * 3 * 8 * d * d / 2**20
        cells = (
            f"{1e3 * ours_row:.1f}",
            f"{1e3 * slow:.0f}",
            f"{slow / ours_row:.0f}",
            f"{loss:.4f}",
            f"{fast_sweep:.2f}",
            f"{sweep_slow:.1f}",
            f"{sweep_slow / fast_sweep:.0f}",
            f"{sweep_loss:.4f}",
            f"{peak:.0f}",
            f"{bound:.0f}",
        )
        print(f"| {d} | {' | '.join(cells)} |", flush=True)
    if len(timed) > 1:
        logs, times = (np.log([t[k] for t in timed]) for k in (0, 1))
        print(f"\npruning a row takes time d^{np.polyfit(logs, times, 1)[0]:.2f}")


def images(data: Path, count: int) -> Array:
    """Pictures of CIFAR-10, (count, 3, 32, 32) in 0 … 1."""
    from PIL import Image

    with np.load(data / "cifar10_jpeg" / "cifar10_jpeg_train.npz", allow_pickle=False) as file:
        jpeg, offset = file["jpeg"], file["offset"]
    pictures = [
        np.asarray(Image.open(io.BytesIO(jpeg[offset[i] : offset[i + 1]].tobytes())).convert("RGB"))
        for i in range(count)
    ]
    return np.stack(pictures).transpose(0, 3, 1, 2).astype(np.float32) / 255


def vgg16_size(data: Path, count: int = 64, steps: int = 4) -> None:
    """Prune 15 M random weights to 90 % and round them to 4 bits: minutes and peak memory."""
    x = images(data, count)

    class Calibration:
        inputs = {"input": np.broadcast_to(x, (steps, *x.shape))}  # noqa: RUF012
        labels = None
        window = 1

    began = time.perf_counter()

    def tell(event: PassEvent) -> None:
        if event.what:
            spent = time.perf_counter() - began
            print(
                f"{event.what} {event.done} of {event.of}, {spent:.0f} s",
                file=sys.stderr,
                flush=True,
            )

    net = vgg16()
    step = PruneQuantize(sparsity=SPARSITY, bits=4, search="rounds", sequential=True, refine=1)
    result = step.apply(net, PassContext(calibration=Calibration(), observer=tell))
    weights = [p.weight for p in result.network.projections]
    size = sum(w.data.size for w in weights)
    sparsity = 1 - sum(w.alive for w in weights) / size
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{size / 1e6:.1f} M weights, {count} images, {steps} steps: {sparsity:.1%} pruned, 4 bits, "
        f"{(time.perf_counter() - began) / 60:.1f} min ({time.process_time() / 60:.1f} CPU min), "
        f"peak {peak:.1f} GiB"
    )
