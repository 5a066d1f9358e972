"""Run by a peer's own interpreter: build its network, then time it whenever asked to.

    python peer_worker.py snntorch work.npz

Reads ``batch`` or ``one`` from standard input, line by line, and answers with the seconds of one run as
JSON, ``wall`` and ``cpu``. Needs numpy, torch and the framework, nothing of snndeploy.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import numpy as np
import torch
from torch import nn


def layers_of(spec: list[dict[str, Any]], arrays: Any) -> list[nn.Module]:
    """Everything linear as torch modules; None where neurons are."""
    layers: list[Any] = []
    for item in spec:
        if item["op"] == "neuron":
            layers.append(None)
        elif item["op"] == "flatten":
            layers.append(nn.Flatten())
        elif item["op"] == "pool":
            layers.append(nn.AvgPool2d(item["kernel"], item["stride"], divisor_override=1))
        else:
            weight = torch.tensor(arrays[item["weight"]])
            if item["op"] == "dense":
                layer: Any = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
            else:
                out, cin, *kernel = weight.shape
                layer = nn.Conv2d(cin, out, kernel, item["stride"], item["padding"], bias=False)
            layer.weight.data = weight
            layers.append(layer)
    return layers


def step_by_step(layers: list[Any], cells: dict[int, Any]) -> Any:
    """Run time outside, layers inside; ``cells[i]`` maps (input, state) to (spikes, state)."""

    def run(x: torch.Tensor) -> torch.Tensor:
        state: dict[int, Any] = {}
        total: Any = 0
        for frame in x:
            y = frame
            for i, layer in enumerate(layers):
                if layer is None:
                    y, state[i] = cells[i](y, state.get(i))
                else:
                    y = layer(y)
            total = total + y
        return total

    return run


def snntorch_run(spec: list[dict[str, Any]], layers: list[Any]) -> Any:
    """``Leaky`` with its delayed reset to zero."""
    import snntorch

    def cell(item: dict[str, Any]) -> Any:
        leaky = snntorch.Leaky(
            beta=item["leak"], threshold=item["threshold"], reset_mechanism="zero"
        )
        return lambda y, mem: leaky(y, torch.zeros_like(y) if mem is None else mem)

    cells = {i: cell(item) for i, item in enumerate(spec) if item["op"] == "neuron"}
    return step_by_step(layers, cells)


def norse_run(spec: list[dict[str, Any]], layers: list[Any]) -> Any:
    """``LIFBoxCell``, whose input gain 1 - leak the threshold takes up, and ``IAFCell`` without leak."""
    import norse.torch as norse
    from norse.torch.functional.iaf import IAFParameters
    from norse.torch.functional.lif_box import LIFBoxParameters

    def cell(item: dict[str, Any]) -> Any:
        gain = 1 - item["leak"]
        if gain == 0:
            return norse.IAFCell(IAFParameters(v_th=torch.tensor(item["threshold"])))
        p = LIFBoxParameters(
            tau_mem_inv=torch.tensor(gain * 1e3), v_th=torch.tensor(item["threshold"] * gain)
        )
        return norse.LIFBoxCell(p, dt=1e-3)

    cells = {i: cell(item) for i, item in enumerate(spec) if item["op"] == "neuron"}
    return step_by_step(layers, cells)


def spikingjelly_run(spec: list[dict[str, Any]], layers: list[Any]) -> Any:
    """Multi-step mode: layers outside, time inside; each linear layer sees all steps at once."""
    from spikingjelly.activation_based import functional, layer, neuron

    def node(item: dict[str, Any]) -> nn.Module:
        common = {"v_threshold": item["threshold"], "v_reset": 0.0, "step_mode": "m"}
        if item["leak"] == 1:
            return neuron.IFNode(**common)
        return neuron.LIFNode(tau=1 / (1 - item["leak"]), decay_input=False, **common)

    net = nn.Sequential(
        *(
            node(item) if module is None else layer.SeqToANNContainer(module)
            for item, module in zip(spec, layers, strict=True)
        )
    )

    def run(x: torch.Tensor) -> torch.Tensor:
        functional.reset_net(net)
        return net(x).sum(0)

    return run


def main() -> None:
    """Answer until the input ends."""
    name, path = sys.argv[1:]
    builders = {"snntorch": snntorch_run, "norse": norse_run, "spikingjelly": spikingjelly_run}
    with np.load(path) as arrays:
        spec = json.loads(str(arrays["spec"]))
        run = builders[name](spec, layers_of(spec, arrays))
        x = torch.tensor(arrays["x"], dtype=torch.float32)
    with torch.no_grad():
        counts = run(x)
        answer: Any = {"counts": counts.numpy().reshape(x.shape[1], -1).tolist()}
        print(json.dumps(answer), flush=True)
        for line in sys.stdin:
            part = x[:, :1] if line.strip() == "one" else x
            start = time.perf_counter(), time.process_time()
            run(part)
            answer = {"wall": time.perf_counter() - start[0], "cpu": time.process_time() - start[1]}
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
