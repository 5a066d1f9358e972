"""Files and objects of other tools, told by their first bytes: what they are, and the way from them."""

from __future__ import annotations

import stat
import zipfile
from dataclasses import dataclass
from pathlib import Path

from ...npz import Damaged, damage

_HDF5 = b"\x89HDF\r\n\x1a\n"
_HEAD = 1 << 16
"""Bytes that are looked at: names of HDF5's top attributes and zip's first members stand in them."""

_WRITE = 'from snndeploy.export import write_nir; write_nir("model.nir", network)'
LIVE = ("snntorch", "norse", "sinabs", "spikingjelly")
"""Frameworks whose live modules ``from_...`` reads."""


def from_module(*frameworks: str | None) -> str:
    """The call that reads a live module of the first of these that has one; of none, all are named."""
    first, *others = [name for name in frameworks if name in LIVE][:1] or LIVE
    call = f"snndeploy.from_{first}(module, sample)"
    return call + (f"  # or {', '.join(f'from_{name}' for name in others)}" if others else "")


_CHAIN = (
    "graph = nir.NIRGraph.from_list(nir.Affine({}, bias), nir.LIF(tau, r, v_leak, v_threshold), …)"
)
_NIR = 'nir.write("model.nir", graph)  # the neurons are yours to choose: the file holds none'


@dataclass(frozen=True)
class Foreign:
    """A file of another tool: its name in a sentence, and the lines that make a model of it."""

    what: str
    lines: tuple[str, ...]


_TORCH = Foreign(
    "a PyTorch checkpoint",
    (
        'module.load_state_dict(torch.load("{name}"))  # built by your code',
        f"network = {from_module()}",
        _WRITE,
    ),
)
_KERAS = Foreign(
    "a Keras model",
    (
        'weight, bias = keras.models.load_model("{name}").layers[0].get_weights()  # and so on',
        _CHAIN.format("weight.T"),
        _NIR,
    ),
)
_ONNX = Foreign(
    "an ONNX model",
    (
        'tensors = onnx.load("{name}").graph.initializer  # onnx.numpy_helper.to_array(tensors[0])',
        _CHAIN.format("weight"),
        _NIR,
    ),
)
_ARRAYS = Foreign(
    "NumPy arrays",
    (
        'arrays = numpy.load("{name}")  # samples go to --data; weights become a model:',
        _CHAIN.format("weight"),
        _NIR,
    ),
)
_ZIPPED_BUNDLE = Foreign(
    "a bundle in a zip archive",
    ('import zipfile; zipfile.ZipFile("{name}").extractall("net.snnb")',),
)


def foreign_file(path: Path) -> Foreign | None:
    """The other tool's file that stands at a place; None for ours, and for what is nobody's."""
    found = _foreign_folder(path) if path.is_dir() else _foreign_content(path)
    if found is None:
        return None
    return Foreign(found.what, tuple(line.format(name=path.as_posix()) for line in found.lines))


def _foreign_folder(path: Path) -> Foreign | None:
    return _KERAS if (path / "saved_model.pb").is_file() else None


def _foreign_content(path: Path) -> Foreign | None:
    head = _head(path)
    if head.startswith(b"PK\x03\x04"):
        return _foreign_zip(path)
    if head.startswith(_HDF5):
        return _KERAS if b"keras_version" in head else None
    if head.startswith(b"\x93NUMPY"):
        return _ARRAYS
    if head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05" and len(head) > 1:
        return _TORCH  # a pickle: what torch.save wrote before it wrote archives
    if path.suffix.lower() == ".onnx" and head[:1] == b"\x08":  # its first field, ir_version
        return _ONNX
    return None


def _foreign_zip(path: Path) -> Foreign | None:
    try:
        with damage(), zipfile.ZipFile(path) as archive:
            names = {name.rpartition("/")[2] for name in archive.namelist()}
    except (OSError, Damaged):
        return None
    members = {"data.pkl": _TORCH, "model.weights.h5": _KERAS, "manifest.json": _ZIPPED_BUNDLE}
    found = next((foreign for name, foreign in members.items() if name in names), None)
    if found is None and names and all(name.endswith(".npy") for name in names):
        return _ARRAYS
    return found


def foreign_object(thing: object) -> tuple[str, ...] | None:
    """The lines that make a model of a torch module; None for anything else. Torch is not loaded."""
    bases = type(thing).__mro__
    if any(c.__name__ == "Module" and c.__module__ == "torch.nn.modules.module" for c in bases):
        made_of = [type(part).__module__.partition(".")[0] for part in thing.modules()]  # type: ignore[attr-defined]
        return (f"network = {from_module(*made_of)}",)
    return None


def is_hdf5(path: Path) -> bool:
    """Whether a file begins as HDF5 does, or may not be read (which its reader will say)."""
    try:
        with path.open("rb") as file:
            return file.read(len(_HDF5)) == _HDF5
    except OSError:
        return True


def described(path: Path) -> str:
    """What stands at a place, for a sentence that refuses it."""
    if path.is_dir():
        return "a folder without a manifest.json"
    if not stat.S_ISREG(path.stat().st_mode):
        return "no regular file"
    head = _head(path)
    if not head:
        return "an empty file"
    if head.startswith(b"PK\x03\x04"):
        return "a zip archive"
    return f"no known format (it begins with {head[:8]!r})"


def _head(path: Path) -> bytes:
    if not path.is_file():
        return b""
    try:
        with path.open("rb") as file:
            return file.read(_HEAD)
    except OSError:
        return b""
