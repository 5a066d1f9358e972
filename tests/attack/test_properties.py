"""What reads strangers' content, on anything at all: it answers, or refuses in the one way it has."""

from __future__ import annotations

import contextlib
import io
import json
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typing_extensions import TypeAliasType

from snndeploy import toml
from snndeploy.ir.codec import SharedArrays, encode, packed
from snndeploy.ir.decoding import decode, unpacked
from snndeploy.ir.network import Network
from snndeploy.ir.program import Program
from snndeploy.npz import Damaged, read_arrays, read_header
from snndeploy.pipeline import compile
from snndeploy.plain import plain
from tests.support.builders import chain_net

NETWORK = chain_net([np.ones((2, 3), np.float32)])
PROGRAM = compile(NETWORK, recipe=None).program
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9)
JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.data(), st.sampled_from([(NETWORK, Network), (PROGRAM, Program)]))
def test_any_value_anywhere_is_decoded_or_refused(
    data: st.DataObject, what: tuple[Any, type]
) -> None:
    """A value of a whole structure becomes any other, of its own kind or not."""
    value, kind = what
    arrays = SharedArrays()
    structure = json.loads(json.dumps(encode(value, arrays)))
    holder, key = structure, "fields"
    while isinstance(holder[key], (dict, list)) and holder[key] and data.draw(st.booleans()):
        holder = holder[key]
        keys = sorted(holder) if isinstance(holder, dict) else list(range(len(holder)))
        key = data.draw(st.sampled_from(keys))
    holder[key] = data.draw(JSON)
    with contextlib.suppress(ValueError):
        assert isinstance(decode(structure, arrays, kind), kind)


@given(st.text() | st.text(alphabet="[]{}.=\"'\n#a1, \\", max_size=400))
def test_any_text_is_toml_or_not(text: str) -> None:
    with contextlib.suppress(toml.TOMLDecodeError):
        assert isinstance(toml.loads(text), dict)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_header_or_damaged(content: bytes) -> None:
    for head in (b"", b"\x93NUMPY\x01\x00", b"\x93NUMPY\x01\x00v\x00{'descr': '<f8', "):
        with contextlib.suppress(Damaged):
            assert read_header(io.BytesIO(head + content)).nbytes >= 0


@given(st.binary(max_size=60), st.integers(0, 400))
def test_any_part_of_an_archive_is_read_or_damaged(content: bytes, at: int) -> None:
    whole = packed(NETWORK)
    broken = whole[: at * len(whole) // 400] + content + whole[at * len(whole) // 400 + 3 :]
    with contextlib.suppress(Damaged):
        read_arrays(broken, 1 << 20)


@given(st.text(alphabet=st.characters(codec="utf-8")))
def test_any_text_is_plain(text: str) -> None:
    shown = plain(text)
    assert not any(c < " " and c not in "\n\t" for c in shown)
    assert not {"\x7f", "\x9b", "\u202e", "\u2066"} & set(shown)
    assert plain(shown) == shown


def test_what_is_packed_is_unpacked() -> None:
    assert unpacked(packed(NETWORK), Network).digest == NETWORK.digest
    assert unpacked(packed(PROGRAM), Program).digest == PROGRAM.digest


def test_arrays_are_known_by_an_alias_too() -> None:
    """numpy's own ``NDArray`` is one where Python has aliases."""
    kind = TypeVar("kind", bound=np.generic)
    alias: Any = TypeAliasType("alias", npt.NDArray[kind], type_params=(kind,))
    found = decode({"array": "a"}, {"a": np.arange(3)}, alias[Any])
    np.testing.assert_array_equal(found, [0, 1, 2])
    with pytest.raises(ValueError, match="it is 3, not an array of the file"):
        decode(3, {}, alias[Any])
