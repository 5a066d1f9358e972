"""Norse: LIF, LIFBox, IAF, LI and LIBox, as cells, with recurrent weights, and over all of time."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

from ..ir.network import Network
from .layers import (
    Framework,
    Heard,
    LayerModel,
    TimeForm,
    Told,
    Update,
    loops,
    neuron,
    refuse,
    sequences,
)
from .read import Sample, library, read_module

if TYPE_CHECKING:
    from torch import Tensor, nn

_WHERE = "from_norse"
_RESETS = {"reset_value": "zero", "reset_subtract": "subtract"}
_OVER_TIME = ("LIF", "LIFRecurrent", "LI", "LIBox", "LIFBox", "IAF", "IAFRecurrent")
_CELLS = (
    "LIFCell",
    "LIFBoxCell",
    "IAFCell",
    "LICell",
    "LIBoxCell",
    "LIFRecurrentCell",
    "IAFRecurrentCell",
    "LILinearCell",
)


def from_norse(module: nn.Module, sample: Sample) -> Network:
    """Read what a Norse network does, and run it beside what was read.

    Args:
        module: with LIF, LIFBox, IAF, LI or LIBox neurons: cells in a ``SequentialState`` or in a
            ``forward`` that hands states on, or modules that take all of time. It is not changed.
        sample: of a module that takes one time step (and a state): a frame, or frames with
            an axis of samples in front. Of modules over time, and of a ``forward``
            that goes through time itself: (steps, samples, *shape). Several inputs are a tuple, or a
            dict by their names.

    Raises:
        BackendMissing: norse is not installed.
        InputError: what has no exact form: the tensor, the line of code, and what to write instead.
    """
    return read_module(_Norse(library("norse.torch")), module, sample)


class _Norse(Framework):
    where = _WHERE

    def __init__(self, torch_part: Any) -> None:
        self.norse = torch_part
        self.bases = library("norse.torch.module.snn")
        self.linear = library("norse.torch.module.leaky_integrator").LILinearCell

    def _kinds(self, names: Sequence[str]) -> tuple[type, ...]:
        found = (getattr(self.norse, n, None) for n in names)
        return tuple(kind for kind in found if kind is not None)

    @property
    def known(self) -> tuple[type, ...]:
        return (*self._kinds(_CELLS), *self._kinds(_OVER_TIME))

    @property
    def neurons(self) -> tuple[type, ...]:
        b = self.bases
        return (b.SNNCell, b.SNNRecurrentCell, b.SNN, b.SNNRecurrent)

    def _over_time(self, layer: Any) -> bool:
        return isinstance(layer, self._kinds(_OVER_TIME))

    def forms(self, module: nn.Module, sample: Tensor, steps: int) -> Sequence[TimeForm]:
        if any(self._over_time(layer) for layer in module.modules()):
            return sequences(sample, steps, TimeForm(kind="sequence", time=0, batch=1))
        alone, together = (TimeForm(kind="steps", batch=batch) for batch in (None, 0))
        if _normalises(module):
            return loops(sample, steps, together)
        if steps > 1 or sample.dim() < 2:
            return loops(sample, steps, alone)
        return [
            together,
            alone,
        ]  # cells know no axis of samples; all that they are given is one frame

    def isolated(self, module: nn.Module) -> AbstractContextManager[object]:
        del module
        return nullcontext()

    def start(self, module: nn.Module) -> None:
        """States are handed from call to call; layers hold none."""

    def call(self, module: nn.Module, inputs: Sequence[Tensor], before: Any) -> tuple[Any, Any]:
        if len(inspect.signature(module.forward).parameters) <= len(inputs):
            return module(*inputs), None
        returned = module(*inputs, before)
        if isinstance(returned, tuple) and len(returned) == 2:
            return returned
        return returned, None

    def heard(self, layer: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Heard:
        del layer
        given = {**dict(zip(("input_tensor", "state"), args, strict=False)), **kwargs}
        state = given.get("state")
        if state is None:
            return Heard(given=given["input_tensor"], fresh=True)
        return Heard(given=given["input_tensor"], states=tuple(state), membrane=state.v)

    def told(self, layer: Any, returned: Any) -> Told:
        emitted, state = returned
        spikes = hasattr(layer.p, "v_th")
        return Told(emitted=emitted, membrane=state.v if spikes else None, states=(emitted, *state))

    def leading(self, layer: Any, form: TimeForm) -> int:
        if self._over_time(layer):
            return 2
        return 0 if form.batch is None else 1

    def steps_axis(self, layer: Any) -> int | None:
        return 0 if self._over_time(layer) else None

    def model(self, name: str, layer: Any, shape: tuple[int, ...]) -> LayerModel:
        p, dt = layer.p, float(layer.dt)
        if getattr(p, "method", "super") == "adjoint":
            raise refuse(
                _WHERE,
                name,
                "method 'adjoint' computes its spikes in another way",
                "use method='super'; the weights stay",
            )
        reset_method = getattr(getattr(p, "reset_method", None), "__name__", "reset_value")
        if reset_method not in _RESETS:
            raise refuse(
                _WHERE,
                name,
                f"its reset method {reset_method} is not known",
                f"use {' or '.join(_RESETS)}",
            )
        rate = p.tau_mem_inv * dt if hasattr(p, "tau_mem_inv") else None
        rest = getattr(p, "v_leak", 0.0)
        spikes = hasattr(p, "v_th")
        update = Update(
            leak=1.0 if rate is None else 1.0 - rate,
            gain=1.0 if rate is None else rate,
            syn_leak=1.0 - p.tau_syn_inv * dt if hasattr(p, "tau_syn_inv") else None,
            threshold=p.v_th if spikes else None,
            v_rest=rest,
            v_back=getattr(p, "v_reset", 0.0),
            v_init=rest if rate is not None else p.v_reset,
            options={"compare": ">", "reset": _RESETS[reset_method]} if spikes else {},
        )
        inward = getattr(layer, "input_weights", None)
        back = getattr(layer, "recurrent_weights", None)
        return LayerModel(
            neuron=neuron(shape, update),
            inward=None if inward is None else partial(_through, inward),
            back=None if back is None else partial(_through, back),
        )


def _normalises(module: nn.Module) -> bool:
    """Whether a layer takes nothing without an axis of samples."""
    from torch.nn.modules.batchnorm import _BatchNorm

    return any(isinstance(layer, _BatchNorm) for layer in module.modules())


def _through(weight: Tensor, x: Tensor) -> Tensor:
    from torch.nn import functional

    return functional.linear(x, weight)
