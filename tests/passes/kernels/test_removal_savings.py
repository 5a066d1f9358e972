"""What removal saves on a chip, and how many units stay for a budget."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from snndeploy.chip import load_target
from snndeploy.chip.families.loihi.lists import list_words
from snndeploy.errors import PassRefused
from snndeploy.ir.arrays import Array
from snndeploy.ir.network import Network
from snndeploy.lower import lower
from snndeploy.mapping import place_program
from snndeploy.passes.base import PassContext
from snndeploy.passes.kernels.remove_kernels import RemoveKernels
from snndeploy.passes.kernels.slicing import shrink
from snndeploy.passes.kernels.unit_budgets import cores_needed
from tests.support.builders import chain_net, conv_net
from tests.support.removal import context, group_of

LOIHI1, LOIHI2 = load_target("loihi1"), load_target("loihi2")


# --- what the chip saves ----------------------------------------------------------------------


def resources(net: Network, target: Any) -> dict[str, int]:
    placed = place_program(lower(net, target), target)
    total: dict[str, int] = {}
    for s in placed.slices:
        for name, used in s.resources.items():
            total[name] = total.get(name, 0) + used
    return total


@pytest.mark.parametrize("target", [LOIHI1, LOIHI2], ids=["loihi1", "loihi2"])
def test_dense_layers_save_what_the_lists_say(target: Any) -> None:
    """40 -> 32 -> 20: words, axons and compartments before and after by the list formula."""
    rng = np.random.default_rng(0)

    def weights(
        *shape: int,
    ) -> Array:  # full 8-bit codes in every row, so that widths do not change
        values = rng.integers(1, 64, shape) * rng.choice([-1, 1], shape)
        values[:, :2] = [127, -127]
        return np.asarray(values / 128).astype(np.float32)

    net = chain_net([weights(32, 40), weights(20, 32)])
    small = RemoveKernels(ratio=0.25, kinds=("dense",)).apply(net, PassContext()).network

    def predicted(hidden: int) -> tuple[int, int, int]:
        words = 0
        for axons, neurons in ((40, hidden), (hidden, 20)):
            index = target.synapse.index.holding((neurons - 1).bit_length())
            bits = target.synapse.weight.holding(8)
            two = target.family == "loihi2"
            counts = np.full(axons, neurons)
            words += int(list_words(counts, bits + index * two, target, 0 if two else index).sum())
        return words, 40 + hidden, hidden + 20

    names = {
        "loihi1": ("synapse_words", "in_axons", "compartments"),
        "loihi2": ("synapse_words", "axon_in", "neurons"),
    }[target.name]
    for network, hidden in ((net, 32), (small, 24)):
        used = resources(network, target)
        assert tuple(used[n] for n in names) == predicted(hidden)
    assert all(resources(small, target)[n] < resources(net, target)[n] for n in names)


@pytest.mark.parametrize("target", [LOIHI1, LOIHI2], ids=["loihi1", "loihi2"])
def test_removal_commutes_with_lowering(target: Any) -> None:
    """Removing kernels and lowering costs what slicing the lowered program by hand costs."""
    net = conv_net(channels=(8, 12), hidden=20)
    groups = [group_of(net, "s1").keep([0, 2, 3, 5, 7]), group_of(net, "s2").keep(range(9))]
    program = lower(net, target)
    kept = {
        "conv1": ([0, 2, 3, 5, 7], None),
        "conv2": (range(9), [0, 2, 3, 5, 7]),
        "fc1": (None, np.arange(48).reshape(12, 4)[:9].reshape(-1)),
    }
    small = lower(shrink(net, groups), target)
    by_name = {s.name: s for s in small.synapses}
    synapses = []
    for s in program.synapses:
        mantissa = s.mantissa
        rows, columns = kept.get(s.name, (None, None))
        mantissa = mantissa if rows is None else mantissa[list(rows)]
        mantissa = mantissa if columns is None else mantissa[:, list(columns)]
        synapses.append(dataclasses.replace(s, mantissa=mantissa, ops=by_name[s.name].ops))
    shapes = {g.name: g.shape for g in small.groups}
    by_hand = [
        dataclasses.replace(
            g,
            shape=shapes[g.name],
            **{
                n: v
                for n, v in vars(small.group(g.name)).items()
                if n in ("vth", "bias_mant", "scale")
            },
        )
        for g in program.groups
    ]
    sliced = dataclasses.replace(program, groups=tuple(by_hand), synapses=tuple(synapses))
    ours = place_program(small, target)
    theirs = place_program(sliced.verify(), target)
    assert [s.resources for s in ours.slices] == [s.resources for s in theirs.slices]
    before = resources(net, target)
    after = resources(shrink(net, groups), target)
    for name in ("synapse_words", "neurons", "compartments", "axon_in", "in_axons"):
        assert name not in before or after[name] < before[name]


# --- how many ---------------------------------------------------------------------------------


def test_widths_by_principal_components() -> None:
    """12 neurons whose inputs span 4 dimensions keep 4."""
    rng = np.random.default_rng(5)
    mixed = rng.normal(size=(12, 4)) @ np.linalg.qr(rng.normal(size=(16, 4)))[0].T
    net = chain_net([mixed, rng.normal(size=(3, 12))])
    ctx = context(net, samples=200)
    step = RemoveKernels(variance=0.9999, score="pca", kinds=("dense",))
    result = step.apply(net, ctx)
    assert result.metrics["fc1"]["kept"] == 4
    kept = result.network.projections[0].weight.data
    assert np.linalg.matrix_rank(kept) == 4
    result = RemoveKernels(variance=0.9999, keep={"fc1": 6}, kinds=("dense",)).apply(net, ctx)
    assert result.metrics["fc1"]["kept"] == 6


def test_a_budget_of_cores_is_met_with_the_least_removed() -> None:
    net = conv_net(channels=(24, 32), hidden=10)
    tiny = LOIHI2.model_copy(
        update={
            "core": {
                **LOIHI2.core,
                "neurons": LOIHI2.core["neurons"].model_copy(update={"limit": 200}),
            }
        }
    )
    ctx = PassContext(target=tiny)
    needed = cores_needed(net, ctx)
    step = RemoveKernels(cores=needed - 3)
    small = step.apply(net, ctx).network
    assert cores_needed(small, ctx) <= needed - 3
    assert RemoveKernels(cores=needed).apply(net, ctx).modified is False
    sizes = {p.name: p.shape[0] for p in small.populations}
    ratio = 1 - sizes["s1"] / 24
    looser = RemoveKernels(ratio=max(0.0, ratio - 0.08)).apply(net, ctx).network
    assert cores_needed(looser, ctx) > needed - 3
    with pytest.raises(PassRefused) as caught:
        RemoveKernels(cores=1).apply(net, ctx)
    assert caught.value.code == "cores-unreachable"
    with pytest.raises(PassRefused) as caught:
        RemoveKernels(cores=4).apply(net, PassContext())
    assert caught.value.code == "target-missing"
