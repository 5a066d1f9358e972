"""Reading a bundle that a stranger may have written: bounded time and memory, or one clear refusal.

Nothing is allocated before its size is known and small enough, nothing is read that is not a regular
file of a known name in the folder itself. A field that is not listed here has a meaning that this
checker does not know: it is refused, because what is not understood cannot be certified.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import sys
import zipfile
from functools import lru_cache
from math import prod
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ARRAYS, TEXT, SHORT = 1 << 30, 1 << 26, 1 << 20
"""Bytes of all arrays together once unpacked (and of any file), of a JSON text, of a short text."""
FILES = ("program.npz", "placement.json", "target.toml", "lock.toml", "report.json", "golden.npz")
SHORT_ONES = ("manifest.json", "target.toml", "lock.toml")
NOT_CONTENT = ("headroom", "rounding", "findings", "differing", "route")
"""Fields that say what is thought of a program, and are not part of its digest."""
NEURONS = 1 << 26
"""The most neurons of one group, and the most values between two operators."""


class BundleRefused(Exception):
    """This is no bundle that can be read: a sentence that goes on from *the bundle …*."""


def allow(holds: object, why: str) -> None:
    """Refuse the bundle unless ``holds``."""
    if not holds:
        raise BundleRefused(why[:300])


class Contradiction(Exception):
    """Two things in the bundle cannot both be true: file, layer, what, stated and found."""

    def __init__(self, file: str, where: str, what: str, stated: object, found: object) -> None:
        told = {"stated": str(stated)[:200], "found": str(found)[:200]}
        self.record = {"file": file, "where": where, "what": what, **told}
        super().__init__(f"{file}: {where}: {what}: stated {told['stated']}, found {told['found']}")


class At(NamedTuple):
    """A layer of a file, of which things must hold."""

    file: str
    where: str

    def need(self, holds: object, what: str, stated: object, found: object) -> None:
        """Raise the contradiction unless ``holds``."""
        if not holds:
            raise Contradiction(self.file, self.where, what, stated, found)

    def same(self, what: str, stated: object, found: object) -> None:
        """Raise the contradiction unless what is stated is what is found."""
        self.need(stated == found, what, stated, found)

    def within(self, what: str, low: Any, found: Any, high: Any) -> None:
        """Raise the contradiction unless all numbers found are from ``low`` to ``high``."""
        least, most = np.min(found), np.max(found)
        all_found = f"{least}..{most}" if least < most else least
        self.need(low <= least and most <= high, what, f"{low}..{high}", all_found)


def read(folder: Path) -> SimpleNamespace:
    """Read all files of a bundle; refuse what is none, and contradict a digest that differs."""
    manifest = _json(_content(folder / "manifest.json"))
    allow(manifest["schema_version"] == 1, "has a manifest.json of another schema than 1")
    files = manifest["files"]
    known = set(FILES) <= set(files) <= {*FILES, "network.npz", "worst.npz"}
    allow(known, f"has a manifest.json that lists {sorted(files)}")
    raw = {name: _content(folder / name) for name in files}
    for name, content in raw.items():
        At(name, "file").same("SHA-256", files[name], hashlib.sha256(content).hexdigest())
    arrays = {name: Archive(raw[name], name) for name in raw if name.endswith(".npz")}
    size = sum(m.file_size for x in arrays.values() for m in x.members.values())
    allow(size <= ARRAYS, f"unpacks to more than {ARRAYS:,} bytes")
    program = arrays["program.npz"]
    network: dict[str, Any] = arrays.get("network.npz", {})
    tree = _json(program["structure"].tobytes())
    digest = content_digest(tree, program)
    At("manifest.json", "program").same("digest", manifest["program"], digest)
    trees = _json(network["structure"].tobytes())["map"] if "network.npz" in arrays else {}
    return SimpleNamespace(
        manifest=manifest,
        program=shaped(tree, "Program", program),
        network=shaped(trees.get("compressed"), "?Network", network),
        placement=shaped(_json(raw["placement.json"]), "Placement", {}),
        target=plain(_toml(raw["target.toml"])),
        lock=_toml(raw["lock.toml"]),
        report=_json(raw["report.json"]),
        golden=arrays["golden.npz"],
        worst=arrays.get("worst.npz"),
    )


_named = lru_cache(1 << 8)(str)


def content_digest(data: Any, arrays: dict[str, Any]) -> str:
    """SHA-256 of what a structure describes: names and values of all fields, in their order."""
    if isinstance(data, list):
        return _sha("sequence", *(content_digest(item, arrays) for item in data))
    if not isinstance(data, dict):
        return _sha_plain(type(data).__name__, repr(data))
    if "array" in data:
        array = arrays[data["array"]]
        array = array + 0 if array.dtype.kind == "f" else array  # there is one zero
        little = array.astype(array.dtype.newbyteorder("<"), copy=False)
        return _sha("array", _named(little.dtype), str(array.shape), little.tobytes())
    if "map" in data:
        pairs = sorted((k, content_digest(v, arrays)) for k, v in data["map"].items())
        return _sha("mapping", *(part for pair in pairs for part in pair))
    fields = [(k, v) for k, v in data["fields"].items() if k not in NOT_CONTENT]
    parts = [part for k, v in fields for part in (k, content_digest(v, arrays))]
    return _sha("fields", data["type"], *parts)


def _sha(*parts: str | bytes) -> str:
    raw = [part.encode() if isinstance(part, str) else part for part in parts]
    return hashlib.sha256(b"".join(len(r).to_bytes(8, "little") + r for r in raw)).hexdigest()


_sha_plain = lru_cache(1 << 12)(_sha)  # thousands of layers share few plain values


def _content(file: Path) -> bytes:
    """The bytes of a regular file: no link is followed, no pipe is waited for."""
    careful = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    largest = SHORT if file.name in SHORT_ONES else ARRAYS
    with open(file, "rb", opener=lambda name, flags: os.open(name, flags | careful)) as opened:
        status = os.fstat(opened.fileno())
        sound = stat.S_ISREG(status.st_mode) and status.st_size <= largest
        allow(sound, f"has a {file.name} that is no regular file of {largest:,} bytes")
        return opened.read(status.st_size)


def _json(content: bytes) -> Any:
    allow(len(content) <= TEXT, f"has a JSON text of more than {TEXT:,} bytes")
    return json.loads(content)


def _toml(content: bytes) -> Any:
    """Tables; keys of very many parts, which would take tomllib minutes, are refused."""
    text = content.decode()
    longest = max(map(len, text.splitlines()), default=0)
    allow(longest < 1 << 12 and text.count(".") < 10_000, "has a TOML file with too long a line")
    return tomllib.loads(text)


def plain(table: Any) -> Any:
    """A target without units and sources: what has a limit is its limit."""
    if not isinstance(table, dict):
        return table
    return table["limit"] if "limit" in table else {k: plain(x) for k, x in table.items()}


class Archive(dict[str, Any]):
    """The arrays of an archive, each read when it is asked for first."""

    def __init__(self, content: bytes, file: str) -> None:
        self.archive = zipfile.ZipFile(io.BytesIO(content))
        self.members: dict[str, zipfile.ZipInfo] = {}
        for m in self.archive.infolist():
            name = m.filename.removesuffix(".npy")
            packed = m.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
            allow(packed, f"packs {name} oddly")
            allow(name not in self.members, f"has a {file} that holds a name twice")
            self.members[name] = m

    def __missing__(self, name: str) -> Any:
        """Read an array: its bytes are no more than the archive says, its shape is that of its bytes."""
        content = self.archive.read(self.members[name])
        start = 10 + int.from_bytes(content[8:10], "little")
        shape, fortran, dtype = _header(content[:start])
        size = len(content) - start
        sound = dtype.kind in "biuf" and min(shape, default=1) > 0 and len(shape) <= 8
        sound = sound and size == prod(shape) * dtype.itemsize
        allow(sound, f"has an array of {dtype} and shape {shape} in {size} bytes")
        flat = np.frombuffer(content, dtype, offset=start)
        allow(dtype.kind != "f" or np.isfinite(flat).all(), "has an array with NaN or infinity")
        self[name] = array = flat.reshape(shape, order="F" if fortran else "C")
        return array


@lru_cache(1 << 12)
def _header(content: bytes) -> Any:
    """Shape, order and type: thousands of small arrays have few different headers."""
    file = io.BytesIO(content)
    allow(np.lib.format.read_magic(file) == (1, 0), "has an array of another version than 1.0")
    return np.lib.format.read_array_header_1_0(file)


# A line is a record and its fields; one that starts with spaces goes on with the record above.
# `?x` may be null, `[x]` is a list, `{x}` maps names, `a|b` is one of the words, `2..31` a whole
# number, `Dense/Conv` one of the records; `int[]`, `real[]` and `mask[]` are arrays. A `level[]` is
# the neuron's parameter of that name in units of v, a `decay[]` the constant of a factor per step.
_FORMS = """
Program target=str arithmetic=Arithmetic groups=[CompartmentGroup] synapses=[SynapseGroup]
  headroom={Headroom} rounding={Rounding} findings=any differing=any
Arithmetic state_bits=2..31 u_overflow=wrap|saturate|saturate-full
  v_overflow=wrap|saturate|saturate-full decay=multiply|shift|floor-shift decay_bits=0..20
  u_decay_offset=0..1 state_shift=0..16 sum_bits=8..32 arrival=summed|in-turn v_step=free|held
CompartmentGroup name=str shape=shape role=input|hidden|output
  kind=input|constant|lif|custom|readout|delta|resonator depth=0..999999 scale=real[] message_bits=0..32
  message_peak=?1..2147483647 du=int[] dv=int[] vth=int[] bias_mant=int[] bias_exp=-31..31 compare=>|>=
  reset=zero|subtract|none reset_timing=immediate|next-step|snntorch-immediate spikes_per_step=one|many
  max_spikes=?1..2147483647 v_floor=?level[] dynamics=any route=str
SynapseGroup name=str sources=[SynapseSource] target=str
  ops=[Dense/Conv/Pointwise/SumPool/Reshape] mantissa=int[] exponent=-31..31
  sign_mode=mixed|excitatory|inhibitory weight_bits=0..64 alive=?mask[] port=|imag
SynapseSource group=str latency=int[]
Headroom u_peak=big v_peak=big limit=big clip_steps=?big
Rounding leak=real syn_leak=real threshold=real bias=real weight=real truncation=any reasons=any
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
_BIG = 1 << 60
_GROUP = _FIELDS["CompartmentGroup"].items()
HELD = {name: form[1:-2] for name, form in _GROUP if form in ("?level[]", "?decay[]")}
"""Registers that only neuron programs have: whether each is a level or a decay."""


def shaped(data: Any, form: str, arrays: dict[str, Any]) -> Any:
    """Rebuild what a structure describes, or refuse it (TypeError, LookupError, ValueError too)."""
    if form == "any":
        return None
    if form[0] == "?":
        return None if data is None else shaped(data, form[1:], arrays)
    if form[0] == "[" and isinstance(data, list):
        return [shaped(item, form[1:-1], arrays) for item in data]
    if form[0] == "{" and set(data) == {"map"}:
        return {str(k): shaped(item, form[1:-1], arrays) for k, item in data["map"].items()}
    if form[0].isupper() and data["type"] in form.split("/"):
        fields, given = _FIELDS[data["type"]], data["fields"]
        needed = {name for name, field in fields.items() if field != "any"}
        known = needed <= set(given) <= set(fields)
        allow(known, f"has a {data['type']} with other fields: {sorted(given)}")
        values = {name: shaped(item, fields[name], arrays) for name, item in given.items()}
        return SimpleNamespace(type=data["type"], **values)
    whole = form in ("int[]", "level[]", "decay[]")
    if form.endswith("[]"):
        data = arrays[data["array"]]
        sound = data.dtype.kind in ("iu" if whole else {"real": "iuf", "mask": "b"}[form[:-2]])
        sound = sound and (not whole or -(1 << 40) <= data.min() <= data.max() <= 1 << 40)
    elif form == "shape":
        data = tuple(data)
        sound = 0 < len(data) <= 3 and all(type(n) is int and n > 0 for n in data)
        sound = sound and prod(data) <= NEURONS
    elif ".." in form or form == "big":
        low, high = form.split("..") if ".." in form else (-_BIG, _BIG)
        sound = type(data) is int and int(low) <= data <= int(high)
    elif form in ("real", "str"):
        sound = type(data) in ((str,) if form == "str" else (int, float))
        sound = sound and data == data and len(str(data)) < 999
    else:
        sound = data in form.split("|")
    allow(sound, f"has something that is not {form}")
    return data.astype(np.int64) if whole else data
