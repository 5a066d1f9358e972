"""Lava processes from a job; see `snndeploy.simulate.lava.plan` for what a job says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from lava.proc.dense.process import DelayDense, Dense
from lava.proc.io.source import RingBuffer
from lava.proc.lif.process import LIFReset
from lava.proc.sdn.process import ActivationMode
from lava.proc.sparse.process import DelaySparse, Sparse
from lava.utils.weightutils import SignMode
from scipy.sparse import csr_matrix

from .processes.delta import WindowedDelta, WindowedSigma, WindowedSigmaDelta
from .processes.lif import RecordedLIFReset, WindowedLIFReset
from .processes.program import NeuronProgram
from .processes.recorder import Recorder
from .processes.resonator import WindowedRF, WindowedRFIZ
from .processes.synapses import MultiDelaySparse, MultiSparse

_SPARSE = {c.__name__: c for c in (Sparse, DelaySparse, MultiSparse, MultiDelaySparse)}
_DELTAS = {c.__name__: c for c in (WindowedDelta, WindowedSigmaDelta, WindowedSigma)}
_RESONATORS = {c.__name__: c for c in (WindowedRF, WindowedRFIZ)}
_ACTIVATIONS = {"relu": ActivationMode.RELU, "unit": ActivationMode.UNIT}
_SIGNS = {
    "mixed": SignMode.MIXED,
    "excitatory": SignMode.EXCITATORY,
    "inhibitory": SignMode.INHIBITORY,
}


class LavaNetwork:
    """The processes of one job, connected."""

    def __init__(self, job: dict[str, Any], arrays: Any, folder: Path) -> None:
        self._arrays, self._folder, self._steps = arrays, folder, job["steps"]
        self._groups: dict[str, Any] = {}
        self._recorders: dict[str, Any] = {}
        for spec in job["sources"]:
            data = np.ascontiguousarray(arrays[spec["data"]], np.int32)
            self._groups[spec["name"]] = RingBuffer(data=data)
        for spec in job["neurons"]:
            self._add_neurons(spec)
        for spec in job["connections"]:
            self._connect(spec)
        self._tie(job["parts"])

    @property
    def root(self) -> Any:
        """A process; running it runs all of them."""
        return next(iter(self._groups.values()))

    def _log(self, name: str | None, *shape: int) -> str | None:
        """Make the (sparse) file that a model writes to."""
        if name is None:
            return None
        path = str(self._folder / name)
        np.lib.format.open_memmap(path, mode="w+", dtype=np.int32, shape=shape).flush()
        return path

    def _values(self, value: Any) -> Any:
        """Parameters as they are, and the arrays that they refer to."""
        if not isinstance(value, dict):
            return value
        if value.keys() == {"array"}:
            return self._arrays[value["array"]]
        return {name: self._values(part) for name, part in value.items()}

    def _add_neurons(self, spec: dict[str, Any]) -> None:
        size = spec["size"]
        parameters = self._values(spec["parameters"])
        states = self._log(spec["states"], 2, self._steps, size)
        if spec["process"] == "NeuronProgram":
            process = NeuronProgram(
                shape=(size,), window=spec["window"], states=states, **parameters
            )
        elif spec["process"] in _DELTAS:
            if "act_mode" in parameters:
                parameters["act_mode"] = _ACTIVATIONS[parameters["act_mode"]]
            process = _DELTAS[spec["process"]](
                shape=(size,), window=spec["window"], states=states, **parameters
            )
        elif spec["process"] in _RESONATORS:
            process = _RESONATORS[spec["process"]](
                shape=(size,), window=spec["window"], states=states, **parameters
            )
        else:
            start, _, interval = spec["window"]
            parameters.update(reset_interval=interval, reset_offset=start + 1)
            if spec["process"] == "WindowedLIFReset":
                process = WindowedLIFReset(
                    shape=(size,), window=spec["window"], states=states, **parameters
                )
            elif states:
                process = RecordedLIFReset(shape=(size,), states=states, **parameters)
            else:
                process = LIFReset(shape=(size,), **parameters)
        self._groups[spec["name"]] = process
        if spec["spikes"]:
            self._record(spec["name"], size, self._log(spec["spikes"], 1, self._steps, size))

    def _record(self, name: str, size: int, path: str | None) -> None:
        self._recorders[name] = Recorder(shape=(size,), path=path)
        self._groups[name].s_out.connect(self._recorders[name].a_in)

    def _connect(self, spec: dict[str, Any]) -> None:
        source = self._groups[spec["source"]].s_out
        target = getattr(self._groups[spec["target"]], spec["port"])
        if spec["process"] == "Conv":
            self._connect_conv(spec, source, target)
            return
        options = {
            "weight_exp": spec["exponent"],
            "num_weight_bits": spec["weight_bits"],
            "sign_mode": _SIGNS[spec["sign_mode"]],
            "num_message_bits": spec["message_bits"],
        }
        weights = self._arrays[spec["weights"]].astype(np.int32)
        if spec["process"] == "Dense":
            synapses = Dense(weights=weights, **options)
        elif spec["process"] == "DelayDense":
            delays = np.broadcast_to(self._arrays[spec["delays"]], weights.shape).astype(int)
            synapses = DelayDense(weights=weights, delays=delays, **options)
        else:
            rows, cols, shape = *(self._arrays[spec[k]] for k in ("rows", "cols")), spec["shape"]
            matrix = csr_matrix((weights, (rows, cols)), shape=shape)
            if "delays" in spec:
                per_entry = self._arrays[spec["delays"]].astype(int)
                options["delays"] = csr_matrix((per_entry, (rows, cols)), shape=shape)
                options["max_delay"] = int(per_entry.max(initial=0))
            synapses = _SPARSE[spec["process"]](weights=matrix, **options)
        source.connect(synapses.s_in)
        synapses.a_out.connect(target)

    def _connect_conv(self, spec: dict[str, Any], source: Any, target: Any) -> None:
        """Lava convolves (flips the kernel) and orders axes x, y, channel."""
        # Here, because it takes a second: it brings all of scipy.signal.
        from lava.proc.conv.process import Conv

        weight = self._arrays[spec["weights"]].astype(np.int32)
        channels, height, width = spec["in_shape"]
        conv = Conv(
            weight=np.ascontiguousarray(weight[:, :, ::-1, ::-1].transpose(0, 3, 2, 1)),
            input_shape=(width, height, channels),
            padding=tuple(spec["padding"][::-1]),
            stride=tuple(spec["stride"][::-1]),
            dilation=tuple(spec["dilation"][::-1]),
            groups=spec["groups"],
            num_message_bits=spec["message_bits"],
        )
        source.reshape((channels, height, width)).transpose((2, 1, 0)).connect(conv.s_in)
        conv.a_out.transpose((2, 1, 0)).flatten().connect(target)

    def _tie(self, parts: list[list[str]]) -> None:
        """Connect the parts of the program through one clock, where there are several."""
        if len(parts) < 2:
            return
        clock = RingBuffer(data=np.zeros((1, 1), np.int32))
        for part in parts:
            recorded = [name for name in part if name in self._recorders]
            if not recorded:
                name = part[0]
                self._record(name, self._groups[name].s_out.shape[0], None)
                recorded = [name]
            clock.s_out.connect(self._recorders[recorded[0]].tick)
