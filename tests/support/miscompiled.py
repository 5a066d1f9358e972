"""Bundles as a compiler with a bug would write them: wrong in one thing, and signed anew.

A bundle is taken apart into the data of its files, one thing is changed, and every digest is computed
again, so that only what the files mean can tell. A change that would not change the meaning, or that
stays within what rounding is stated for, is not made (the function answers False).
"""

from __future__ import annotations

import copy
import hashlib
import io
import json
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import tomli_w

from snndeploy import toml
from snndeploy.ir.decoding import decode
from snndeploy.ir.network import Network
from snndeploy.ir.ops import Dense, Reshape
from snndeploy.ir.program import Program
from snndeploy.ir.weights import Weight
from tests.support.builders import ZOO, conv, inputs, lif, project
from tests.support.exact_networks import FAMILIES, GRADED, exact_network
from tests.support.xylo_networks import hidden_layers

Array = Any
Rng = np.random.Generator


class Files:
    """The data of a bundle's files, to be changed and written again."""

    def __init__(self, folder: Path) -> None:
        self.manifest = json.loads((folder / "manifest.json").read_text())
        self.placement = json.loads((folder / "placement.json").read_text())
        self.report = json.loads((folder / "report.json").read_text())
        self.target = toml.loads((folder / "target.toml").read_text())
        self.digest: str | None = None  # of the program, where it is to be wrong
        self.lock = toml.loads((folder / "lock.toml").read_text())
        self.golden = _arrays(folder / "golden.npz")
        worst = folder / "worst.npz"
        self.worst = _arrays(worst) if worst.exists() else {}
        arrays = _arrays(folder / "program.npz")
        program = json.loads(arrays.pop("structure").tobytes())["fields"]
        self.arrays: dict[str, Array] = {}
        self.program = _alone(program, arrays, self.arrays)
        self.networks = (folder / "network.npz").read_bytes()
        with np.load(folder / "network.npz") as npz:
            network = json.loads(npz["structure"].tobytes())["map"]["compressed"]["fields"]
            self.network = {k: npz[k] for k in npz.files if k != "structure"}
        self.populations = {p["fields"]["name"]: p["fields"] for p in network["populations"]}

    def copy(self) -> Files:
        return copy.deepcopy(self)

    @property
    def groups(self) -> list[dict[str, Any]]:
        return [g["fields"] for g in self.program["groups"]]

    @property
    def synapses(self) -> list[dict[str, Any]]:
        return [s["fields"] for s in self.program["synapses"]]

    @property
    def slices(self) -> list[dict[str, Any]]:
        return [s["fields"] for s in self.placement["fields"]["slices"]]

    def group(self, name: str) -> dict[str, Any]:
        return next(g for g in self.groups if g["name"] == name)

    def array(self, reference: dict[str, str]) -> Array:
        return self.arrays[reference["array"]]

    def put(self, reference: dict[str, str], array: Array) -> None:
        self.arrays[reference["array"]] = np.asarray(array)

    def write(self, folder: Path, *, sign: bool = True) -> Path:
        """Write all files; with ``sign`` the manifest is that of what is written."""
        folder.mkdir(parents=True, exist_ok=True)
        program = {"type": "Program", "fields": self.program}
        arrays = {**self.arrays, "structure": np.frombuffer(json.dumps(program).encode(), np.uint8)}
        manifest, report = dict(self.manifest), self.report
        if sign:
            digest = self.digest or _digest(program, self.arrays) or manifest["program"]
            manifest["program"] = digest
            if isinstance(report, dict):
                report = {**report, "program": {**report["program"], "digest": digest}}
        files = {
            "program.npz": _npz(arrays),
            "golden.npz": _npz(self.golden),
            "network.npz": self.networks,
            **({"worst.npz": _npz(self.worst)} if self.worst else {}),
            "placement.json": json.dumps(self.placement).encode(),
            "report.json": json.dumps(report).encode(),
            "target.toml": tomli_w.dumps(self.target).encode(),
            "lock.toml": tomli_w.dumps(self.lock).encode(),
        }
        if sign:
            manifest["files"] = {n: hashlib.sha256(c).hexdigest() for n, c in files.items()}
        files["manifest.json"] = json.dumps(manifest).encode()
        for name, content in files.items():
            (folder / name).write_bytes(content)
        return folder


def _digest(program: dict[str, Any], arrays: dict[str, Array]) -> str | None:
    """The compiler's own digest of a program, as far as it can read it."""
    try:
        return str(decode(json.loads(json.dumps(program)), arrays, Program).digest)
    except (KeyError, TypeError, ValueError):
        return None


def _arrays(file: Path) -> dict[str, Array]:
    with np.load(file) as npz:
        return dict(npz)


def _npz(arrays: dict[str, Array]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def _alone(data: Any, arrays: dict[str, Array], found: dict[str, Array]) -> Any:
    """The structure with an array in ``found`` for each place, so that one can be changed by itself."""
    if isinstance(data, list):
        return [_alone(item, arrays, found) for item in data]
    if not isinstance(data, dict):
        return data
    if "array" in data:
        key = f"a{len(found)}"
        found[key] = arrays[data["array"]]
        return {"array": key}
    return {key: _alone(item, arrays, found) for key, item in data.items()}


Change = Callable[[Files, Rng], bool]
KINDS: dict[str, Change] = {}


def kind(change: Change) -> Change:
    """Register a kind of miscompilation under its name."""
    KINDS[change.__name__.replace("_", " ")] = change
    return change


def miscompile(bases: Sequence[Files], number: int) -> tuple[str, Files]:
    """Miscompilation ``number``: its kind, and a bundle that differs from one of ``bases`` in it."""
    names = list(KINDS)
    name = names[number % len(names)]
    rng = np.random.default_rng([number, 17])
    for base in rng.permutation(len(bases)):
        files = bases[base].copy()
        if KINDS[name](files, rng):
            return name, files
    raise ValueError(f"no base has room for {name!r}")


# What is changed by less than this stays within rounding: half a step of 8 bits, and half a mantissa.
_WEIGHT = 6


def _some(rng: Rng, items: Sequence[Any]) -> Any:
    return items[int(rng.integers(len(items)))]


def _learned(f: Files, rng: Rng) -> dict[str, Any]:
    return _some(rng, [s for s in f.synapses if not s["name"].endswith(".bias")])


def _neurons(f: Files, rng: Rng, *kinds: str) -> dict[str, Any] | None:
    found = [g for g in f.groups if g["kind"] in (kinds or ("lif", "custom", "readout"))]
    return _some(rng, found) if found else None


def _trained(f: Files, group: dict[str, Any], parameter: str) -> Array | None:
    reference = f.populations[group["name"]]["neuron"]["fields"][parameter]
    return None if reference is None else f.network[reference["array"]]


def _set_weight(f: Files, s: dict[str, Any], place: int, value: int) -> bool:
    m = f.array(s["mantissa"]).copy()
    m.reshape(-1)[place] = value
    f.put(s["mantissa"], m)
    return True


@kind
def one_weight(f: Files, rng: Rng) -> bool:
    s = _some(rng, f.synapses)
    m = f.array(s["mantissa"]).reshape(-1)
    place, by = int(rng.integers(m.size)), 2 * int(rng.integers(_WEIGHT // 2 + 1, 20))
    return _set_weight(f, s, place, int(m[place]) + (by if m[place] < 0 else -by))


@kind
def negated_weight(f: Files, rng: Rng) -> bool:
    s = _learned(f, rng)
    m = f.array(s["mantissa"]).reshape(-1)
    large = np.flatnonzero(np.abs(m) >= _WEIGHT)
    if not large.size:
        return False
    place = int(_some(rng, large))
    return _set_weight(f, s, place, -int(m[place]))


@kind
def missing_synapse(f: Files, rng: Rng) -> bool:
    s = _some(rng, f.synapses)
    m = f.array(s["mantissa"]).reshape(-1)
    large = np.flatnonzero(np.abs(m) > _WEIGHT)
    return large.size > 0 and _set_weight(f, s, int(_some(rng, large)), 0)


@kind
def revived_synapse(f: Files, rng: Rng) -> bool:
    s = _learned(f, rng)
    zeros = np.flatnonzero(f.array(s["mantissa"]) == 0)
    return zeros.size > 0 and _set_weight(f, s, int(_some(rng, zeros)), 2 * _WEIGHT)


@kind
def swapped_weights(f: Files, rng: Rng) -> bool:
    s = _learned(f, rng)
    m = f.array(s["mantissa"]).copy()
    a, b = rng.integers(m.size, size=2)
    flat = m.reshape(-1)
    if abs(int(flat[a]) - int(flat[b])) <= _WEIGHT:
        return False
    flat[a], flat[b] = flat[b], flat[a]
    f.put(s["mantissa"], m)
    return True


def _permuted(f: Files, s: dict[str, Any], changed: Array) -> bool:
    m = f.array(s["mantissa"])
    if np.abs(m - changed).max() <= _WEIGHT:
        return False
    f.put(s["mantissa"], np.ascontiguousarray(changed))
    return True


def _swapped(m: Array, axis: int, rng: Rng) -> Array:
    order = np.arange(m.shape[axis])
    a, b = rng.choice(order.size, 2, replace=False)
    order[[a, b]] = order[[b, a]]
    return np.take(m, order, axis=axis)


@kind
def swapped_output_channels(f: Files, rng: Rng) -> bool:
    s = _learned(f, rng)
    m = f.array(s["mantissa"])
    return m.ndim > 1 and m.shape[0] > 1 and _permuted(f, s, _swapped(m, 0, rng))


@kind
def swapped_input_channels(f: Files, rng: Rng) -> bool:
    s = _learned(f, rng)
    m = f.array(s["mantissa"])
    return m.ndim > 1 and m.shape[1] > 1 and _permuted(f, s, _swapped(m, 1, rng))


@kind
def flipped_kernel(f: Files, rng: Rng) -> bool:
    s = _learned(f, rng)
    m = f.array(s["mantissa"])
    return m.ndim > 2 and _permuted(f, s, np.flip(m, axis=-1))


@kind
def transposed_weights(f: Files, rng: Rng) -> bool:
    s = _learned(f, rng)
    m = f.array(s["mantissa"])
    square = m.ndim > 1 and m.shape[-1] == m.shape[-2]
    return square and _permuted(f, s, np.swapaxes(m, -1, -2))


@kind
def exponent(f: Files, rng: Rng) -> bool:
    s = _some(rng, f.synapses)
    s["exponent"] += int(rng.choice([-1, 1]))
    return bool(f.array(s["mantissa"]).any())


@kind
def sign_mode(f: Files, rng: Rng) -> bool:
    s = _some(rng, f.synapses)
    m = f.array(s["mantissa"])
    s["sign_mode"] = "inhibitory" if (m > 0).any() else "excitatory"
    return bool(m.any())


@kind
def weight_bits(f: Files, rng: Rng) -> bool:
    s = _some(rng, f.synapses)
    m = np.abs(f.array(s["mantissa"]))
    odd = m >> max(
        int(np.bitwise_or.reduce(m, axis=None) & -np.bitwise_or.reduce(m, axis=None)).bit_length()
        - 1,
        0,
    )
    s["weight_bits"] = int(odd.max()).bit_length() - 1
    return int(odd.max()) > 1


@kind
def padding_on_the_other_side(f: Files, rng: Rng) -> bool:
    for s in f.synapses:
        for op in s["ops"]:
            if op["type"] == "Conv" and op["fields"]["padding"][0] != [0, 0]:
                before, after = op["fields"]["padding"][0]
                op["fields"]["padding"][0] = [before - 1, after + 1] if before else [1, after - 1]
                return True
    return False


@kind
def lost_projection(f: Files, rng: Rng) -> bool:
    place = int(rng.integers(len(f.program["synapses"])))
    del f.program["synapses"][place]
    return True


@kind
def doubled_projection(f: Files, rng: Rng) -> bool:
    again = copy.deepcopy(_some(rng, f.program["synapses"]))
    again["fields"]["name"] += ".again"
    f.program["synapses"].append(again)
    return True


@kind
def lost_source(f: Files, rng: Rng) -> bool:
    for s in f.synapses:
        if len(s["sources"]) > 1:
            del s["sources"][int(rng.integers(len(s["sources"])))]
            return True
    return False


@kind
def other_source(f: Files, rng: Rng) -> bool:
    for s in f.synapses:
        for o in s["sources"]:
            here = f.group(o["fields"]["group"])
            for other in f.groups:
                if other["name"] != here["name"] and other["shape"] == here["shape"]:
                    o["fields"]["group"] = other["name"]
                    return True
    return False


@kind
def swapped_targets(f: Files, rng: Rng) -> bool:
    for a in f.synapses:
        for b in f.synapses:
            if a["target"] != b["target"] and a["ops"] == b["ops"]:
                a["target"], b["target"] = b["target"], a["target"]
                return True
    return False


@kind
def delay(f: Files, rng: Rng) -> bool:
    source = _some(rng, _some(rng, f.synapses)["sources"])["fields"]
    f.put(source["latency"], f.array(source["latency"]) + 1)
    return True


@kind
def depth(f: Files, rng: Rng) -> bool:
    group = _neurons(f, rng)
    assert group is not None
    group["depth"] += 1
    _say_depths(f)
    return True


@kind
def depth_with_its_latencies(f: Files, rng: Rng) -> bool:
    """A group one step late, with every delay as before: right, but slower than the longest path."""
    group = _neurons(f, rng)
    assert group is not None
    group["depth"] += 1
    for s in f.synapses:
        for o in s["sources"]:
            into, out = s["target"] == group["name"], o["fields"]["group"] == group["name"]
            latency = f.array(o["fields"]["latency"]) + int(into) - int(out)
            if latency.min() < 1:
                return False
            f.put(o["fields"]["latency"], latency)
    _say_depths(f)
    return True


def _say_depths(f: Files) -> None:
    f.report["program"]["depth"] = max(g["depth"] for g in f.groups)
    for layer in f.report["layers"]:
        layer["depth"] = f.group(layer["name"])["depth"]


def _changed(f: Files, group: dict[str, Any], field: str, by: int) -> bool:
    array = f.array(group[field]).copy()
    if array.ndim:
        array.reshape(-1)[0] += by
    else:
        array = array + by
    f.put(group[field], array)
    return True


@kind
def threshold(f: Files, rng: Rng) -> bool:
    group = _neurons(f, rng, "lif", "custom")
    assert group is not None
    vth = int(f.array(group["vth"]).max())
    return _changed(f, group, "vth", int(rng.choice([-1, 1])) * (3 + vth // 50))


@kind
def threshold_of_half(f: Files, rng: Rng) -> bool:
    group = _neurons(f, rng, "lif", "custom")
    assert group is not None
    vth = f.array(group["vth"])
    f.put(group["vth"], vth // 2)
    return int(vth.min()) > 4


@kind
def leak_of_v(f: Files, rng: Rng) -> bool:
    group = _neurons(f, rng)
    assert group is not None
    d = int(f.array(group["dv"]).max())
    return _changed(f, group, "dv", int(rng.integers(2, 50)) * (1 if d < 2000 else -1))


@kind
def leak_of_u(f: Files, rng: Rng) -> bool:
    group = _neurons(f, rng)
    assert group is not None
    d = int(f.array(group["du"]).max())
    return _changed(f, group, "du", int(rng.integers(2, 50)) * (1 if d < 2000 else -1))


@kind
def bias(f: Files, rng: Rng) -> bool:
    group = _neurons(f, rng)
    assert group is not None
    return _changed(f, group, "bias_mant", int(rng.choice([-2, 2])))


@kind
def bias_exponent(f: Files, rng: Rng) -> bool:
    group = _neurons(f, rng)
    assert group is not None
    group["bias_exp"] += 1
    return bool((np.abs(f.array(group["bias_mant"])) > 2).any())


@kind
def bias_sign(f: Files, rng: Rng) -> bool:
    group = _neurons(f, rng)
    assert group is not None
    b = f.array(group["bias_mant"])
    f.put(group["bias_mant"], -b)
    return bool((np.abs(b) > 2).any())


@kind
def scale(f: Files, rng: Rng) -> bool:
    group = _some(rng, [g for g in f.groups if any(s["target"] == g["name"] for s in f.synapses)])
    f.put(group["scale"], f.array(group["scale"]) * float(rng.choice([0.5, 2.0, 1.1])))
    return True


@kind
def scale_of_an_input(f: Files, rng: Rng) -> bool:
    heard = {o["fields"]["group"] for s in f.synapses for o in s["sources"]}
    group = _some(rng, [g for g in f.groups if g["kind"] == "input" and g["name"] in heard])
    f.put(group["scale"], f.array(group["scale"]) * 2.0)
    f.lock["compile"]["inputs"][group["name"]]["scale"] = float(f.array(group["scale"]))
    return True


@kind
def neuron_option(f: Files, rng: Rng) -> bool:
    group = _neurons(f, rng, "custom")
    if group is None:
        return False
    options = {
        "compare": (">", ">="),
        "reset": ("zero", "subtract", "none"),
        "reset_timing": ("immediate", "next-step", "snntorch-immediate"),
        "spikes_per_step": ("one", "many"),
    }
    field = _some(rng, list(options))
    group[field] = _some(rng, [o for o in options[field] if o != group[field]])
    return True


@kind
def native_for_program(f: Files, rng: Rng) -> bool:
    group = _neurons(f, rng, "custom")
    if group is not None:
        group["kind"] = "lif"
    return group is not None


@kind
def readout_for_spikes(f: Files, rng: Rng) -> bool:
    group = _neurons(f, rng, "lif")
    if group is not None:
        group["kind"] = "readout"
    return group is not None


@kind
def most_spikes(f: Files, rng: Rng) -> bool:
    group = _neurons(f, rng, "custom")
    if group is None or group["spikes_per_step"] == "one":
        return False
    group["max_spikes"] = 2 if group["max_spikes"] is None else group["max_spikes"] + 1
    return True


@kind
def lost_group(f: Files, rng: Rng) -> bool:
    group = _neurons(f, rng)
    assert group is not None
    f.program["groups"] = [g for g in f.program["groups"] if g["fields"] is not group]
    f.report["layers"] = [x for x in f.report["layers"] if x["name"] != group["name"]]
    return True


@kind
def floor_of_v(f: Files, rng: Rng) -> bool:
    group = _neurons(f, rng, "custom")
    if group is None or group["v_floor"] is None:
        return False
    if rng.random() < 0.5:
        group["v_floor"] = None
        return True
    return _changed(f, group, "v_floor", 64)


@kind
def registers(f: Files, rng: Rng) -> bool:
    a = f.program["arithmetic"]["fields"]
    changes = {"decay_bits": 11, "state_bits": 23, "v_overflow": "wrap", "u_overflow": "saturate"}
    changes |= {"decay": "shift", "state_shift": 5, "u_decay_offset": 0, "sum_bits": 24}
    field = _some(rng, list(changes))
    before, a[field] = a[field], changes[field]
    return bool(a[field] != before)


def _headroom(f: Files, rng: Rng) -> dict[str, Any]:
    return _some(rng, list(f.program["headroom"]["map"].values()))["fields"]


@kind
def bound_of_u(f: Files, rng: Rng) -> bool:
    room = _headroom(f, rng)
    room["u_peak"] = int(room["u_peak"] * float(rng.uniform(0.05, 0.45)))
    return room["u_peak"] > 0


@kind
def bound_of_v(f: Files, rng: Rng) -> bool:
    room = _headroom(f, rng)
    room["v_peak"] = int(room["v_peak"] * float(rng.uniform(0.05, 0.45)))
    return room["v_peak"] > 0


@kind
def lost_bounds(f: Files, rng: Rng) -> bool:
    """Head-room that one group, or every group, says nothing of."""
    stated = f.program["headroom"]["map"]
    for name in [_some(rng, list(stated))] if rng.random() < 0.5 else list(stated):
        del stated[name]
    return True


@kind
def limit_of_registers(f: Files, rng: Rng) -> bool:
    _headroom(f, rng)["limit"] *= 2
    return True


@kind
def steps_until_v_clips(f: Files, rng: Rng) -> bool:
    name = _some(rng, list(f.program["headroom"]["map"]))
    room = f.program["headroom"]["map"][name]["fields"]
    if room["clip_steps"] is None:
        return False
    never = rng.random() < 0.5 and not f.array(f.group(name)["dv"]).any()
    room["clip_steps"] = None if never else 3 * room["clip_steps"] + 3
    return True


@kind
def stated_rounding(f: Files, rng: Rng) -> bool:
    rounding = _some(rng, list(f.program["rounding"]["map"].values()))["fields"]
    field = _some(rng, [k for k in ("leak", "syn_leak", "weight") if rounding[k] > 1e-6] or [""])
    if field:
        rounding[field] /= 4
    return bool(field)


@kind
def rounding_raised_to_cover_it(f: Files, rng: Rng) -> bool:
    """A wrong number together with a statement of rounding under which it would pass."""
    group = _neurons(f, rng, "lif", "custom")
    assert group is not None
    stated = f.program["rounding"]["map"][group["name"]]["fields"]
    for field in stated:
        stated[field] = 1.0
    wrong = _some(rng, ["vth", "dv", "du", "bias_mant", "weight"])
    if wrong == "weight":
        s = _some(rng, [s for s in f.synapses if s["target"] == group["name"]])
        m = f.array(s["mantissa"]).reshape(-1)
        place = int(rng.integers(m.size))
        return _set_weight(f, s, place, int(m[place]) + (16 if m[place] < 0 else -16))
    low = int(f.array(group[wrong]).max()) < 2000
    return _changed(f, group, wrong, 5 if low else -5)


@kind
def wider_messages(f: Files, rng: Rng) -> bool:
    """Messages that may be larger than what the head-room is stated for."""
    group = _some(rng, [g for g in f.groups if g["kind"] == "input"])
    if not group["message_bits"]:
        return False
    group["message_bits"] += 6
    if group["message_peak"] is not None:  # a wider field alone changes nothing that is proved
        group["message_peak"] <<= 6
    f.lock["compile"]["inputs"][group["name"]]["message_bits"] += 6
    return True


@kind
def late_bias(f: Files, rng: Rng) -> bool:
    found = [s for s in f.synapses if s["name"].endswith(".bias")]
    if found:
        source = _some(rng, found)["sources"][0]["fields"]
        f.put(source["latency"], f.array(source["latency"]) + 1)
    return bool(found)


@kind
def bias_of_a_neighbour(f: Files, rng: Rng) -> bool:
    found = [s for s in f.synapses if s["name"].endswith(".bias")]
    return bool(found) and _permuted(f, found[0], np.roll(f.array(found[0]["mantissa"]), 1, axis=0))


@kind
def pruned_biases(f: Files, rng: Rng) -> bool:
    """A mask on the synapses of a bias, which nothing pruned."""
    for s in f.synapses:
        if s["name"].endswith(".bias"):
            alive = f.array(s["mantissa"]) != f.array(s["mantissa"]).min()
            f.arrays["alive of a bias"], s["alive"] = alive, {"array": "alive of a bias"}
            return True
    return False


@kind
def pruned_synapses(f: Files, rng: Rng) -> bool:
    found = [s for s in f.synapses if s["alive"] is not None]
    if not found:
        return False
    s = _some(rng, found)
    alive = f.array(s["alive"]).copy()
    flat = alive.reshape(-1)
    place = int(rng.integers(flat.size))
    flat[place] = not flat[place]
    f.put(s["alive"], alive)
    return True


@kind
def role(f: Files, rng: Rng) -> bool:
    group = _neurons(f, rng)
    assert group is not None
    group["role"] = "hidden" if group["role"] == "output" else "output"
    return True


@kind
def feature_that_the_chip_lacks(f: Files, rng: Rng) -> bool:
    group = _neurons(f, rng, "custom")
    if group is None or group["reset"] != "subtract":
        return False
    f.target["neurons"]["subtract_reset"] = "none"
    return True


@kind
def golden_spike(f: Files, rng: Rng) -> bool:
    name = _some(rng, [k for k in f.golden if k.startswith("spikes.")])
    spikes = f.golden[name].copy()
    flat = spikes.reshape(-1)
    place = int(rng.integers(spikes.size))
    flat[place] = 1 if flat[place] == 0 else int(flat[place]) - 1
    f.golden[name] = spikes
    return True


@kind
def golden_run_a_step_late(f: Files, rng: Rng) -> bool:
    name = _some(rng, [k for k in f.golden if k.startswith("spikes.")])
    late = np.roll(f.golden[name], 1, axis=0)
    late[0] = 0
    differs = bool((late != f.golden[name]).any())
    f.golden[name] = late
    return differs


@kind
def worst_input(f: Files, rng: Rng) -> bool:
    """What is called the worst input takes a register elsewhere than is said, or at another step."""
    places = [k for k in f.worst if not k.startswith("input.")]
    if not places:
        return False
    name = _some(rng, places)
    told = np.array(f.worst[name])
    told[int(rng.integers(1, 3))] += int(rng.choice([-1, 1]))
    f.worst[name] = told
    return True


@kind
def lost_worst_input(f: Files, rng: Rng) -> bool:
    """Of a register that is not proved."""
    names = [name for name in f.worst if not name.startswith("input.")]
    if names:
        del f.worst[_some(rng, names)]
    return bool(names)


@kind
def golden_channels(f: Files, rng: Rng) -> bool:
    name = _some(rng, [k for k in f.golden if k.startswith("spikes.")])
    turned = np.flip(f.golden[name], axis=2)
    differs = bool((turned != f.golden[name]).any())
    f.golden[name] = np.ascontiguousarray(turned)
    return differs


@kind
def overlapping_slices(f: Files, rng: Rng) -> bool:
    f.placement["fields"]["slices"].append(
        copy.deepcopy(_some(rng, f.placement["fields"]["slices"]))
    )
    f.slices[-1]["core"] = max(s["core"] for s in f.slices) + 1
    f.report["cores"]["used"] += 1
    return True


@kind
def lost_slice(f: Files, rng: Rng) -> bool:
    del f.placement["fields"]["slices"][int(rng.integers(len(f.slices)))]
    f.report["cores"]["used"] = len({s["core"] for s in f.slices})
    return True


@kind
def slice_one_short(f: Files, rng: Rng) -> bool:
    part = _some(rng, f.slices)
    axis = int(rng.integers(len(part["bounds"])))
    low, high = part["bounds"][axis]
    part["bounds"][axis] = [low, high - 1] if rng.random() < 0.5 else [low + 1, high]
    return True


@kind
def slice_of_another_group(f: Files, rng: Rng) -> bool:
    part = _some(rng, f.slices)
    others = sorted({s["group"] for s in f.slices} - {part["group"]})
    if others:
        part["group"] = _some(rng, others)
    return bool(others)


@kind
def core_off_the_board(f: Files, rng: Rng) -> bool:
    _some(rng, f.slices)["core"] = 1_000_000
    return True


@kind
def cores_per_chip(f: Files, rng: Rng) -> bool:
    f.placement["fields"]["cores_per_chip"] -= 1
    return True


@kind
def understated_resource(f: Files, rng: Rng) -> bool:
    used = _some(rng, f.slices)["resources"]["map"]
    name = _some(
        rng,
        [
            k
            for k, n in used.items()
            if n and k not in ("delay_slots", "neuron_words", "heard", "sent")
        ],
    )
    used[name] -= 1
    return True


@kind
def target_limit(f: Files, rng: Rng) -> bool:
    """A limit below what some core takes."""
    used = _some(rng, f.slices)["resources"]["map"]
    name = _some(rng, [k for k, n in used.items() if n and k in f.target["core"]])
    f.target["core"][name]["limit"] = int(rng.integers(used[name]))
    return True


@kind
def register_limit(f: Files, rng: Rng) -> bool:
    largest = {
        "vth_max": max(int(f.array(g["vth"]).max()) for g in f.groups if g["kind"] != "readout"),
        "decay_max": max(int(f.array(g["du"]).max()) for g in f.groups if g["kind"] != "input"),
    }
    name = _some(rng, list(largest))
    f.target["numeric"][name]["limit"] = largest[name] - 1
    return largest[name] > 0


@kind
def weight_limits(f: Files, rng: Rng) -> bool:
    s = _some(rng, f.synapses)
    m = f.array(s["mantissa"])
    name = _some(rng, ["high", "low"])
    limits = f.target["synapse"]["mantissa"]
    limits[name] = int(m.max()) - 1 if name == "high" else int(m.min()) + 1
    return bool(m.max() > 0 and m.min() < 0)


@kind
def delay_limit(f: Files, rng: Rng) -> bool:
    longest = max(
        int(f.array(o["fields"]["latency"]).max()) for s in f.synapses for o in s["sources"]
    )
    f.target["synapse"]["delay_max"]["limit"] = longest - 2
    return longest > 1


@kind
def other_target(f: Files, rng: Rng) -> bool:
    place = _some(rng, ["program", "placement", "report", "lock"])
    if place == "program":
        f.program["target"] = "other"
    elif place == "placement":
        f.placement["fields"]["target"] = "other"
    elif place == "report":
        f.report["target"] = "other"
    else:
        f.lock["compile"]["target"] = "other"
    return True


@kind
def digest_of_the_program(f: Files, rng: Rng) -> bool:
    f.digest = f"{int(rng.integers(1 << 60)):064x}"
    return True


@kind
def report_of_cores(f: Files, rng: Rng) -> bool:
    f.report["cores"]["used"] += int(rng.integers(1, 5))
    return True


@kind
def report_of_layers(f: Files, rng: Rng) -> bool:
    layer = _some(rng, f.report["layers"])
    layer["depth"] += 1
    return True


@kind
def input_in_the_lock(f: Files, rng: Rng) -> bool:
    told = _some(rng, list(f.lock["compile"]["inputs"].values()))
    told["message_bits"] += 1
    return True


def networks() -> dict[str, Network]:
    """One small network of every structure, some with numbers that need no rounding, some not."""
    plain = {make.__name__: make(0) for make in ZOO}
    exact = {name: exact_network(name, 0) for name in FAMILIES}
    return {**plain, "off the grid": _off_the_grid(), **exact}


def compiled_to(folder: Path, name: str, target: str, recipe: str | None = None) -> Path:
    """Compile one of `networks` to a bundle."""
    from snndeploy.lower import InputCoding
    from snndeploy.pipeline import bundle_of, compile, save_bundle

    coding = InputCoding.named("graded" if name in GRADED else "binary")
    compiled = compile(networks()[name], target=target, recipe=recipe, inputs=coding)
    assert compiled.fits, name
    return save_bundle(folder / f"{name}.{target}.{recipe}.snnb", bundle_of(compiled))


@cache
def taken_apart(name: str, target: str, recipe: str | None = None) -> Files:
    """One of `networks`, compiled once for all who ask: nobody changes it, copies are changed."""
    with TemporaryDirectory() as folder:
        return Files(compiled_to(Path(folder), name, target, recipe))


def bases() -> list[Files]:
    """Every network for one Loihi or both, with and without quantisation, and one for Xylo, in parts."""
    found = []
    for number, name in enumerate(networks()):
        targets = (
            ("loihi1", "loihi2") if name == "off the grid" else (("loihi1", "loihi2")[number % 2],)
        )
        if name in (*GRADED, "subtractive"):
            targets = ("loihi2",)
        recipe = None if name == "off the grid" else (None, "default")[number // 2 % 2]
        found += [taken_apart(name, target, recipe) for target in targets]
    return [*found, on_xylo()]


def _off_the_grid() -> Network:
    """A network no number of which is a whole number of units of the chip."""
    rng = np.random.default_rng(5)
    leaks = {"leak": 0.913, "syn_leak": 0.377, "threshold": 0.771}
    first = conv(2, 3)
    pruned = Weight(rng.normal(size=(3, 6)), mask=rng.random((3, 6)) < 0.7)
    populations = (
        inputs((2, 5, 5)),
        lif("a", (3, 5, 5), leak=0.877, threshold=0.83, bias=rng.normal(size=(3, 1, 1)) / 9),
        lif("b", (6,), bias=0.0123, **leaks),
        lif("output", (3,), "output", **leaks),
    )
    projections = (
        project("conv", "input", "a", first, rng.normal(size=first.weight_shape)),
        project("fc", "a", "b", [Reshape((75,)), Dense(6, 75)], rng.normal(size=(6, 75)) / 5),
        project("loop", "b", "b", Dense(6, 6), rng.normal(size=(6, 6)), delay=2),
        project("out", "b", "output", Dense(3, 6), pruned),
    )
    return Network(populations, projections).verify()


FUZZED = (6, 7, 12, 15, 17, 20, 27, 28, 34, 37, 38, 40, 42, 45, 49, 50)
"""Cases of the fuzzer that fit their chip: kernels, rows of different steps, delays, many spikes."""


@cache
def fuzzed() -> list[Files]:
    """Random networks, compiled."""
    from snndeploy.pipeline import bundle_of, compile, save_bundle
    from tests.fuzz.networks import draw

    found = []
    for seed in FUZZED:
        case = draw(seed)
        compiled = compile(case.network, target=case.target, recipe=None, inputs=case.coding)
        with TemporaryDirectory() as folder:
            found.append(Files(save_bundle(Path(folder) / "net.snnb", bundle_of(compiled))))
    return found


@cache
def on_xylo() -> Files:
    """A network on a chip that takes spikes in turn."""
    from snndeploy.lower import InputCoding
    from snndeploy.pipeline import bundle_of, compile, save_bundle

    network, coding = hidden_layers(1, bias=True), InputCoding(kind="graded", peak=15)
    bundle = bundle_of(compile(network, target="xylo-a2", recipe=None, inputs=coding))
    with TemporaryDirectory() as folder:
        return Files(save_bundle(Path(folder) / "net.snnb", bundle))
