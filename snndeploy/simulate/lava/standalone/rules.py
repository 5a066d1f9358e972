"""The step of a neuron program as a few plain lines of Python.

`snndeploy.ir.step.step_integer` answers for every rule and arithmetic; a script that people read needs
one rule in Lava's arithmetic. What is written here is run against that function, for all rules, in the
tests.
"""

from __future__ import annotations

from ....ir.step import LOIHI, NeuronRule

_SHIFT, _MAX, _ONE = LOIHI.state_shift, LOIHI.state_max, LOIHI.decay_one
_HALF = 1 << (LOIHI.sum_bits - 1)

HELPERS = f'''
def decay(x, d):
    """What a step leaves of a state: a fraction of {_ONE}, rounded toward zero."""
    return np.sign(x) * ((np.abs(x) * ({_ONE} - d)) >> {LOIHI.decay_bits})


def held(x):
    """A sum in Lava's adder of {LOIHI.sum_bits} bit."""
    return (x + {_HALF}) % {2 * _HALF} - {_HALF}


def wrap(x):
    """u overflows once, as in Lava."""
    x = held(x)
    x = np.where(x <= {-_MAX - 1}, x + {2 * (_MAX + 1)}, x)
    return np.where(x > {_MAX + 1}, x - {2 * (_MAX + 1)}, x)


def clip(x):
    """v saturates."""
    return np.clip(held(x), {-_MAX}, {_MAX})
'''
"""What the lines of `step_source` use, beside NumPy."""


def step_source(rule: NeuronRule, name: str, *, floor: bool) -> str:
    """A function ``name(p, u, v, fired, a)`` in Lava's arithmetic.

    It takes the registers ``p`` (``du`` with the chip's offset in it, ``threshold`` shifted into the
    state), the state, and the synaptic input, int64 all of them, and returns the new u, v and spikes.

    Args:
        rule: when the neurons spike, and what follows.
        name: of the function.
        floor: whether v has a lower bound.
    """
    lines = [f"u = wrap(decay(u, p.du) + (a << {_SHIFT}))", "x = decay(v, p.dv) + u + p.bias"]
    late = ""
    match rule.reset_timing:
        case "next-step":
            late = "fired"
        case "snntorch-immediate":
            lines.append(f"last = (v {rule.compare} p.threshold).astype(np.int64)")
            late = "last"
        case "immediate":
            pass
    if late and rule.subtracts:
        lines.append(f"x = x - {late} * p.threshold")
    lines.append("v = clip(x)")
    if late and rule.zeroes:
        lines.append(f"v = np.where({late} > 0, 0, v)")
    lines.append(f"spikes = (v {rule.compare} p.threshold).astype(np.int64)")
    match rule.spikes_per_step:
        case "many":
            lines.append("spikes = np.where(spikes > 0, v // np.maximum(p.threshold, 1), 0)")
            if rule.max_spikes is not None:
                lines.append(f"spikes = np.minimum(spikes, {rule.max_spikes})")
        case "one":
            pass
    if rule.reset_timing != "next-step":
        if rule.subtracts:
            taken = f"(spikes - {late})" if late else "spikes"
            lines.append(f"v = v - {taken} * p.threshold")
        elif rule.zeroes:
            lines.append("v = np.where(spikes > 0, 0, v)")
    if floor:
        lines.append("v = np.maximum(v, p.v_floor)")
    body = "\n".join(f"    {line}" for line in (f'"""{told(rule)}"""', *lines))
    return f"def {name}(p, u, v, fired, a):\n{body}\n    return u, v, spikes\n"


def told(rule: NeuronRule) -> str:
    """The rule in words."""
    number = "one spike" if rule.spikes_per_step == "one" else "several spikes"
    if rule.spikes_per_step == "many" and rule.max_spikes is not None:
        number = f"up to {rule.max_spikes} spikes"
    return (
        f"{number} per step where v {rule.compare} threshold; reset: {rule.reset} "
        f"({rule.reset_timing})"
    )
