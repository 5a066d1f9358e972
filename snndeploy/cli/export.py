"""The command that writes a compressed network in another format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .options import compile_options, data_options, refuse_network_options


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--to", "form", required=True, type=click.Choice(["nir", "netx"]), help="Format.")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="File.")
@click.option("--force", is_flag=True, help="Replace an existing file.")
@compile_options
@data_options
def export(model: Path, form: str, output: Path, force: bool, **options: Any) -> None:
    """Compress a network and write it back: as NIR, or as integers for lava-dl's netx."""
    from ..export import write_netx, write_nir
    from ..ingest import read_netx
    from ..pipeline import holds_program, refuse_place
    from .options import compile_model

    refuse_place(output, force)
    if form == "netx" and holds_program(model):
        refuse_network_options(model)
        write_netx(output, read_netx(model, options["target"]), force=force)
    else:
        compiled, _ = compile_model(model, options)
        if form == "nir":
            write_nir(output, compiled.network, force=force)
        else:
            write_netx(output, compiled.program, force=force)
    click.echo(f"wrote {output}", err=True)
