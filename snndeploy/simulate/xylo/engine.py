"""A `Program` in the vendor's simulator of Xylo, run by the interpreter that has it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...chip.families.xylo.configuration import Configuration, Connections, configuration_of
from ...errors import BackendMissing
from ...files import scratch
from ...ir.arrays import Array, size
from ...ir.program import Program
from ...progress import Progress, silent
from ..integer.engine import Inputs, program_inputs
from ..lava.env import FAILURES, reason_of, run_python
from ..recording import Recording, units_of
from .env import XyloEnv, require_xylosim

_WORKER = Path(__file__).parent / "worker.py"
_TIMEOUT_S = 3600.0


def run_xylosim(
    program: Program,
    inputs: Inputs,
    *,
    progress: Progress = silent,
    env: XyloEnv | None = None,
    states: bool = False,
) -> Recording:
    """Run ``program`` on integer inputs in xylosim.

    The simulator runs in chip time, and as long as the last group needs to have seen all of a sample;
    the recording is in sample time, as that of every engine.

    Args:
        program: what to run, lowered for a Xylo.
        inputs: ``(steps, samples, *input shape)`` integers, or one such array per input group.
        progress: told when all samples are done.
        env: the interpreter (None: the one that is found).
        states: record u and v of all groups.

    Raises:
        BackendMissing: there is no interpreter with xylosim, or it fails.
        InputError: an input is missing, has the wrong shape, or is not integer.
        LoweringRefused: the program is not one that the chip could be configured with.
    """
    env = env or require_xylosim()
    data = program_inputs(program, inputs)
    configuration = configuration_of(program, program.arithmetic.state_max)
    steps, samples = next(iter(data.values())).shape[:2]
    late = {g.name: g.depth - 1 for g in program.on_chip}
    total = steps + max(late.values(), default=0)
    sent = np.zeros((samples, total, configuration.channels), np.int64)
    flat = [data[g.name].reshape(steps, samples, -1) for g in program.groups if g.kind == "input"]
    sent[:, :steps] = np.moveaxis(np.concatenate(flat, axis=2), 1, 0)
    found = run_worker({"0": job_of(configuration, sent)}, env)["0"]
    progress(samples, samples)
    return _recording(program, data, found, late, steps, states=states)


def job_of(configuration: Configuration, sent: Array) -> dict[str, Array]:
    """What the worker is asked to run: a configuration, and (samples, steps, channels) to send."""
    c, n = configuration, configuration.neurons
    return {
        "inputs": _entries(c.inputs),
        "hidden": _entries(c.hidden),
        "outputs": _entries(c.outputs),
        "shift": np.array([c.inputs.shift, c.hidden.shift, c.outputs.shift]),
        "threshold": c.threshold[:n],
        "threshold_out": c.threshold[n:],
        "dash_mem": c.dash_mem[:n],
        "dash_mem_out": c.dash_mem[n:],
        "dash_syn": c.dash_syn[:n, None],
        "dash_syn_out": c.dash_syn[n:, None],
        "has_bias": np.array(bool(c.bias.any())),
        "bias": c.bias[:n],
        "bias_out": c.bias[n:],
        "alias": np.zeros((0, 2), np.int64),
        "version": np.array(2),
        "x": sent,
    }


def run_worker(
    jobs: Mapping[str, Mapping[str, Array]], env: XyloEnv
) -> dict[str, dict[str, Array]]:
    """Run jobs by number; what the simulator recorded of each.

    Raises:
        BackendMissing: the worker fails.
    """
    with scratch("snndeploy-xylo-") as folder:
        arrays = {f"{k}.{name}": a for k, job in jobs.items() for name, a in job.items()}
        np.savez(folder / "job.npz", **arrays)  # type: ignore[arg-type]
        files = (str(folder / "job.npz"), str(folder / "result.npz"))
        try:
            run_python(env.python, str(_WORKER), *files, timeout=_TIMEOUT_S)
        except FAILURES as error:
            raise BackendMissing(
                "xylosim-failed",
                f"the simulator's process failed: {reason_of(error)}",
                where=str(env.python),
                hint="check it with `snndeploy xylo status`",
            ) from error
        with np.load(folder / "result.npz", allow_pickle=False) as result:
            stored = dict(result)
    results: dict[str, dict[str, Any]] = {k: {} for k in jobs}
    for key, values in stored.items():
        k, _, name = key.partition(".")
        results[k][name] = values
    return results


def _entries(connections: Connections) -> Array:
    c = connections
    return np.stack([c.source, c.target, c.weight, np.zeros_like(c.source)], axis=1)


def _recording(
    program: Program,
    data: Mapping[str, Array],
    found: Mapping[str, Array],
    late: Mapping[str, int],
    steps: int,
    *,
    states: bool,
) -> Recording:
    spikes = dict(data)
    u: dict[str, Array] = {}
    v: dict[str, Array] = {}
    first = {False: 0, True: 0}
    for g in program.on_chip:
        output = g.role == "output"
        there = slice(first[output], first[output] + size(g.shape))
        first[output] = there.stop
        then = slice(late[g.name], late[g.name] + steps)

        def of(name: str, then: slice = then, there: slice = there, group: Any = g) -> Array:
            part = np.moveaxis(found[name][:, then, there], 0, 1)
            return part.reshape(*part.shape[:2], *group.shape).astype(np.int64)

        volts = of("v_mem_out" if output else "v_mem")
        spikes[g.name] = volts if g.rule is None else of("out" if output else "hid")
        if states:
            u[g.name], v[g.name] = of("i_syn_out" if output else "i_syn"), volts
    return Recording(engine="xylosim", spikes=spikes, u=u, v=v, units=units_of(program))
