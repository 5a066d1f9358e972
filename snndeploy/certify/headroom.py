"""What is said of head-room: proved by intervals, or the worst input that was found, replayed."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from .bounds import bounds
from .files import At
from .runs import engine, given


def check_headroom(program: Any, worst: Any, told: dict[str, Any]) -> None:
    """Every stated bound is one; what is called proved holds whatever arrives; the rest is replayed."""
    limit = (1 << (program.arithmetic.state_bits - 1)) - 1
    real = bounds(program)
    kept = {} if worst is None else worst.members
    inputs = given(program, "worst.npz", worst, every=True)[0] if kept else {}
    replayed = lru_cache(None)(
        lambda i: engine(program, {n: x[:, [i]] for n, x in inputs.items()})[1]
    )
    if program.headroom or program.rounding:  # as whatever comes from a network has
        At("program.npz", "headroom").same("groups", sorted(program.headroom), sorted(real))
    for name, b in real.items():
        stated, at = program.headroom.get(name), At("program.npz", name)
        v, steps = int(b.v.max()), limit // max(int(b.drive.max()), 1)
        if stated is not None:
            at.same("limit of u and v", limit, stated.limit)
            at.need(stated.u_peak >= b.u.max(), "bound of |u|", stated.u_peak, b.u.max())
            at.need(stated.v_peak >= min(v, limit), "bound of |v|", stated.v_peak, v)
            clips = v <= limit if stated.clip_steps is None else stated.clip_steps <= steps
            at.need(clips, "steps until v may clip", stated.clip_steps, steps)
        told["bounds"][name] = found = {"limit": limit}
        for number, register, bound in ((0, "u", int(b.u.max())), (1, "v", int(b.v.max()))):
            found[register] = seen = {"bound": bound, "proved": b.safe and bound <= limit}
            seen["reached"], where = None, f"head-room of {name}"
            if seen["proved"]:
                why = f"|{register}| <= {bound:,} of {limit:,} whatever arrives (intervals)"
                told["proved"].append(f"{where}: {why}")
                continue
            at, key = At("worst.npz", name), f"{register}.{name}"
            at.need(
                key in kept, f"worst input of a {register} that is not proved", "none", "needed"
            )
            seen["run"], *stated = (int(x) for x in worst[key])
            here = replayed(seen["run"])[name][number, :, 0]
            here = here * (np.cumsum(here > limit) < 2)  # up to where it overflows first
            seen["step"], seen["reached"] = step, most = int(here.argmax()), int(here.max())
            at.same(f"step and largest |{register}|", stated, [step, most])
            does = getattr(program.arithmetic, f"{register}_overflow").partition("-")[0]
            does = f"{does}s" if most > limit else f"may {does}"
            why = f"the worst input found takes it to {most:,} of {limit:,} ({most / limit:.0%})"
            why += f" at step {step}" + f"; within {steps} steps nothing can" * (
                b.safe and steps > 0
            )
            told["not_proved"].append(f"{where}: {register} {does}; {why}")
