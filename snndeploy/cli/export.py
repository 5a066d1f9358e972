"""The command that writes a compressed network in another format."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .options import admitted, compile_options, data_options, json_option
from .show.help import command
from .show.telling import say, tell

if TYPE_CHECKING:
    from ..data import Samples
    from ..ir.arrays import Array
    from ..ir.network import Network


@command(example="snndeploy export model.snnb --to nir -o compiled.nir")
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--to",
    "form",
    required=True,
    type=click.Choice(["nir", "netx", "lava", "rockpool"]),
    help="Format.",
)
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), help="File; for lava, folder."
)
@click.option("--force", is_flag=True, help="Replace what is there.")
@compile_options
@data_options
@json_option
def export(
    model: Path, form: str, output: Path, force: bool, as_json: bool, **options: Any
) -> None:
    """Write a network as NIR, or as integers for Lava, lava-dl's netx or rockpool's Xylo.

    A NIR file is compressed first. For lava it becomes a folder with one script that needs only Lava,
    compares itself with the bundle's golden spikes, and runs on a board with --hw.
    """
    from ..bundle import read_bundle
    from ..export import write_netx, write_nir, write_xylo
    from ..export.netx import refuse_network
    from ..export.nir_metadata import unsaid
    from ..ingest import read_network, read_netx
    from ..pipeline import refuse_place
    from ..pipeline.bundles import golden_of
    from ..pipeline.run import network_missing
    from ..simulate.lava.standalone import refuse_standalone_place, write_standalone
    from .options import compile_model, semantics_of
    from .show.render import print_json

    network: Network | None = None
    golden: Mapping[str, Array] | None = None
    samples: Samples | None = None
    kind = admitted(model)
    if form == "lava":
        refuse_standalone_place(output, force)
    else:
        refuse_place(output, force)
    if kind == "netx":
        program = read_netx(model, options["target"])
    elif kind == "bundle":
        bundle = read_bundle(model)
        program, network = bundle.program, bundle.networks.get("compressed")
        golden = bundle.golden
    else:
        if form == "netx":
            refuse_network(read_network(model, options["frontend"], **semantics_of(options)))
        layout = "netx" if form == "netx" else "chip"
        compiled, samples = compile_model(model, {**options, "layout": layout})
        tell(compiled.source.findings)
        program, network = compiled.program, compiled.network
        if form == "netx":
            tell(program.findings, notes=True)  # what these integers are not, that the file holds
    if form == "lava":
        golden = golden_of(program, samples) if golden is None else golden
        write_standalone(output, program, golden, force=force)
    elif form == "netx":
        write_netx(output, program, force=force)
    elif form == "rockpool":
        write_xylo(output, program, force=force)
    elif network is not None:
        write_nir(output, network, force=force)
        tell(unsaid(network))
    else:
        raise network_missing("compressed", str(model))
    if as_json:
        print_json({"output": str(output), "form": form})
    say(f"wrote {output}", err=True)
