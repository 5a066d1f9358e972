"""The form of what a bundle holds: every record with its fields, and what each field can be.

A field that is not listed here has a meaning that this checker does not know. It is refused, because
what is not understood cannot be certified.
"""

from __future__ import annotations

from math import prod
from types import SimpleNamespace
from typing import Any

NEURONS = 1 << 26
"""The most neurons of one group, and the most values between two operators."""


class BundleRefused(Exception):
    """This is no bundle that can be read: a sentence that goes on from *the bundle …*."""


# A line is a record and its fields; one that starts with spaces goes on with the record above.
# `?x` may be null, `[x]` is a list, `{x}` maps names, `a|b` is one of the words, `2..31` a whole
# number, `Dense/Conv` one of the records; `int[]`, `real[]` and `mask[]` are arrays.
_FORMS = """
Program target=str arithmetic=Arithmetic groups=[CompartmentGroup] synapses=[SynapseGroup]
  headroom={Headroom} rounding={Rounding} findings=any
Arithmetic state_bits=2..31 u_overflow=wrap|saturate v_overflow=wrap|saturate decay=multiply|shift
  decay_bits=0..20 u_decay_offset=0..1 state_shift=0..16 sum_bits=8..32
CompartmentGroup name=str shape=shape role=input|hidden|output
  kind=input|constant|lif|custom|readout depth=0..999999 scale=real[] message_bits=0..32
  du=int[] dv=int[] vth=int[] bias_mant=int[] bias_exp=-31..31 compare=>|>=
  reset=zero|subtract|none reset_timing=immediate|next-step|snntorch-immediate
  spikes_per_step=one|many max_spikes=?1..2147483647 v_floor=?int[] route=str
SynapseGroup name=str sources=[SynapseSource] target=str
  ops=[Dense/Conv/Pointwise/SumPool/Reshape] mantissa=int[] exponent=-31..31
  sign_mode=mixed|excitatory|inhibitory weight_bits=0..64 alive=?mask[]
SynapseSource group=str latency=int[]
Headroom u_peak=big v_peak=big limit=big clip_steps=?big
Rounding leak=real syn_leak=real threshold=real bias=real weight=real
Network populations=[Population] projections=[Projection] notes=any findings=any
Population name=str shape=shape neuron=?Neuron role=input|hidden|output kept=?int[]
Projection name=str sources=[Source] target=str ops=[Dense/Conv/Pointwise/SumPool/Reshape]
  weight=Weight bias=?real[]
Source population=str delay=int[]
Weight data=real[] scale=?real[] bits=?0..64 mask=?mask[] levels=any
Neuron leak=real[] syn_leak=?real[] threshold=?real[] compare=>|>= reset=zero|subtract|none
  reset_timing=immediate|next-step|snntorch-immediate spikes_per_step=one|many
  max_spikes=?1..2147483647 v_floor=?real[] v_init=real[] bias=real[] drive=real[]
Dense out_features=1..67108864 in_features=1..67108864
Conv out_channels=1..67108864 in_channels=1..67108864 kernel=[1..9999] stride=[1..9999]
  padding=[[0..9999]] dilation=[1..9999] groups=1..67108864
Pointwise shape=shape weight_shape=[1..67108864]
SumPool kernel=[1..999] stride=[1..9999] padding=[0..999]
Reshape shape=shape
Placement target=str cores_per_chip=1..999999 slices=[Slice] search=any
Slice group=str bounds=[[0..67108864]] core=0..999999999 resources={big}
"""
_LINES = [line.split() for line in _FORMS.replace("\n  ", " ").strip().split("\n")]
_FIELDS = {name: dict(field.split("=", 1) for field in fields) for name, *fields in _LINES}


def shaped(data: Any, form: str, arrays: dict[str, Any]) -> Any:
    """Rebuild what a structure describes, or refuse it (TypeError, LookupError, ValueError too)."""
    if form == "any" or (form[0] == "?" and data is None):
        return None
    if form[0] == "?":
        return shaped(data, form[1:], arrays)
    if form[0] == "[" and isinstance(data, list):
        return [shaped(item, form[1:-1], arrays) for item in data]
    if form[0] == "{" and set(data) == {"map"}:
        return {str(k): shaped(item, form[1:-1], arrays) for k, item in data["map"].items()}
    if form.endswith("[]"):
        return _array(arrays[data["array"]], form)
    if form[0].isupper() and data["type"] in form.split("/"):
        fields, given = _FIELDS[data["type"]], data["fields"]
        needed = {name for name, field in fields.items() if field != "any"}
        if not needed <= set(given) <= set(fields):
            raise BundleRefused(f"has a {data['type']} with other fields: {sorted(given)}"[:300])
        values = {name: shaped(item, fields[name], arrays) for name, item in given.items()}
        return SimpleNamespace(type=data["type"], **values)
    if form == "shape" and 0 < len(data) <= 3:
        whole = all(type(n) is int and n > 0 for n in data)
        data = tuple(data) if whole and prod(data) <= NEURONS else None
    elif ".." in form or form == "big":
        low, high = form.split("..") if ".." in form else (-(1 << 60), 1 << 60)
        data = data if type(data) is int and int(low) <= data <= int(high) else None
    elif form == "real" or form == "str":
        kinds = (str,) if form == "str" else (int, float)
        data = data if type(data) in kinds and data == data and len(str(data)) < 999 else None
    elif data not in form.split("|"):
        data = None
    if data is None:
        raise BundleRefused(f"has something that is not {form}"[:300])
    return data


def _array(array: Any, form: str) -> Any:
    kinds = {"int[]": "iu", "real[]": "iuf", "mask[]": "b"}[form]
    large = form == "int[]" and (array.max() > 1 << 40 or array.min() < -(1 << 40))
    if array.dtype.kind not in kinds or large:
        raise BundleRefused(f"has an array of {array.dtype} that is not {form} of 40 bits")
    return array


def chain(ops: Any, shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """The shapes before the first operator, between operators and behind the last."""
    shapes = [shape]
    for op in ops:
        shapes.append(_out(op, shapes[-1]))
        if min(shapes[-1]) < 1 or prod(shapes[-1]) > NEURONS:
            raise BundleRefused(f"has an operator {op.type} that delivers {shapes[-1]}")
    return shapes


def _out(op: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
    if op.type == "Reshape" and prod(op.shape) == prod(shape):
        return tuple(op.shape)
    if op.type == "Pointwise" and shape == op.shape:
        return shape
    if op.type == "Dense" and shape == (op.in_features,):
        return (op.out_features,)
    if op.type == "SumPool" and len(shape) == 3:
        return (shape[0], *_windows(shape, op, [(p, p) for p in op.padding], (1, 1)))
    grouped = op.type == "Conv" and op.in_channels % op.groups == op.out_channels % op.groups == 0
    if grouped and shape[0] == op.in_channels and len(shape) > 1:
        return (op.out_channels, *_windows(shape, op, op.padding, op.dilation))
    raise BundleRefused(f"has an operator {op.type} that cannot take {shape}")


def _windows(shape: Any, op: Any, padding: Any, dilation: Any) -> list[int]:
    axes = list(zip(shape[1:], op.kernel, op.stride, padding, dilation, strict=True))
    if prod(n + sum(p) for n, _, _, p, _ in axes) * shape[0] > NEURONS or prod(op.kernel) > 1 << 16:
        raise BundleRefused(f"has a window of {op.kernel} over {shape}, which is too large")
    return [(n + sum(p) - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in axes]
