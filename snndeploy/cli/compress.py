"""The command that runs a recipe's passes alone: NIR in, NIR out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from .options import (
    cluster_option,
    data_options,
    guard_options,
    json_option,
    resume_options,
    semantics_options,
    target_options,
)
from .show.help import command
from .show.telling import say, tell


@command(example="snndeploy compress model.nir -d val.npz -o small.nir")
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "-r", "--recipe", default="auto", show_default=True, help="Name or .toml file of a recipe."
)
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="NIR file.")
@click.option("--force", is_flag=True, help="Replace an existing file.")
@click.option(
    "--max-memory",
    type=click.IntRange(min=16),
    metavar="MIB",
    help="Bound on recordings and blocks of rows, instead of the recipe's, and on a layer's moments.",
)
@click.option("--explain", is_flag=True, help="Also show what shrank together, and what stayed.")
@guard_options
@semantics_options
@target_options
@resume_options
@cluster_option
@data_options
@json_option
def compress(
    model: Path,
    recipe: str,
    output: Path,
    force: bool,
    max_memory: int | None,
    explain: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Compress a network by a recipe and write it back as NIR."""
    from ..export import write_nir
    from ..limits import current, using
    from ..passes.kernels.coupling import survivors
    from ..pipeline import compress as run
    from ..pipeline import group_record, refuse_place
    from ..pipeline.bundles import answers_record
    from ..recipe import load_recipe
    from ..report import finding_record
    from ..workers import workers_at
    from .options import admitted, read_weighed
    from .show.progress import pass_progress
    from .show.render import print_json

    refuse_place(output, force)
    chosen = load_recipe(recipe).guarded(options["guard"], options["max_divergence"])
    if max_memory is not None:
        chosen = chosen.with_max_memory(max_memory)
    admitted(model)
    network, samples = read_weighed(model, options)
    held = current() if max_memory is None else replace(current(), held=max_memory << 20)
    with using(held), workers_at(options["cluster"]) as workers:
        log = run(
            network,
            recipe=chosen,
            target=options["target"],
            calibration=samples,
            checkpoints=options["checkpoints"],
            resume=options["resume"],
            workers=workers,
            observer=pass_progress(),
        )
    write_nir(output, log.network, force=force)
    groups = survivors(network, log.network)
    layers = (
        {
            name: {
                "sparsity": round(layer.sparsity, 4),
                "bits": layer.bits,
                "weights": layer.weights,
            }
            for name, layer in log.steps[-1].after.layers.items()
        }
        if log.steps
        else {}
    )
    steps = [
        {
            "pass": s.name,
            "seconds": round(s.seconds, 2),
            "layers": s.metrics,
            "answers": answers_record(s.answers),
        }
        for s in log.steps
    ]
    if as_json:
        shrunk = {"groups": [group_record(g) for g in groups]} if explain else {}
        told = [finding_record(f) for f in log.findings]
        print_json(
            {
                "layers": layers,
                "passes": steps,
                "answers": answers_record(log.answers),
                "findings": told,
                "output": str(output),
                **shrunk,
            }
        )
        return
    kept = {
        name: f"  {len(g.kept)} of {g.count} kernels"
        for g in groups
        if len(g.kept) < g.count
        for name in g.incoming
    }
    for name, layer in layers.items():
        losses = [
            f"{s.metrics[name]['loss']:.4g}" for s in log.steps if "loss" in s.metrics.get(name, {})
        ]
        loss = f"  membrane error {', then '.join(losses)}" if losses else ""
        pruned = f"{layer['sparsity']:7.2%} pruned  {layer['bits']:>2} bits"
        say(f"{name:<20} {pruned}{kept.get(name, '')}{loss}")
    for group in groups if explain else ():
        say(str(group))
    if log.answers is not None:
        say(f"answers: {log.answers}")
    tell(network.findings)
    for finding in log.findings:
        say(f"{finding.severity}: {finding.where}: {finding.message}", err=True)
        for fix in finding.fixes:
            say(f"  try: {fix.text}: {fix.effect}", err=True)
    say(f"wrote {output}", err=True)
