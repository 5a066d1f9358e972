"""snndeploy: take a trained spiking neural network to neuromorphic hardware, smaller and proven.

>>> import snndeploy
>>> compiled = snndeploy.compile("model.nir", target="loihi2", recipe="default")  # doctest: +SKIP
>>> compiled.fits  # doctest: +SKIP
True

The public names load on first use, so that ``import snndeploy`` stays fast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .bundle import Bundle, read_bundle, write_bundle
    from .chip import Target, load_target
    from .data import Samples, load_samples, split_signs
    from .errors import SnnDeployError
    from .ingest import SemanticsProfile, read_network, read_netx
    from .ir.finding import Finding
    from .ir.network import Network, Population, Projection, Source
    from .ir.neurons import Neuron
    from .ir.placement import Placement
    from .ir.program import Program
    from .ir.weights import Weight
    from .live import from_norse, from_relu, from_sinabs, from_snntorch, from_spikingjelly
    from .lower import InputCoding
    from .mapping import check_program, place_program, validate_placement
    from .pipeline import (
        Compiled,
        bundle_of,
        compile,
        compress,
        compress_module,
        energy,
        explain_bundle,
        finetune,
        page_of,
        report_of,
        run_engine,
        save_bundle,
        sensitivity,
        tables_of,
        tune,
        verify_bundle,
    )
    from .recipe import Recipe, load_recipe
    from .simulate.recording import Recording
    from .verify.compare import compare
    from .verify.probe import probe

_HOME = {
    ".bundle": ("Bundle", "read_bundle", "write_bundle"),
    ".errors": ("SnnDeployError",),
    ".ingest": ("SemanticsProfile", "read_network", "read_netx"),
    ".ir.finding": ("Finding",),
    ".ir.network": ("Network", "Population", "Projection", "Source"),
    ".ir.neurons": ("Neuron",),
    ".ir.placement": ("Placement",),
    ".ir.program": ("Program",),
    ".ir.weights": ("Weight",),
    ".live": ("from_norse", "from_relu", "from_sinabs", "from_snntorch", "from_spikingjelly"),
    ".lower": ("InputCoding",),
    ".mapping": ("check_program", "place_program", "validate_placement"),
    ".pipeline": (
        "Compiled",
        "bundle_of",
        "compile",
        "compress",
        "compress_module",
        "energy",
        "explain_bundle",
        "finetune",
        "page_of",
        "report_of",
        "save_bundle",
        "sensitivity",
        "tables_of",
        "run_engine",
        "tune",
        "verify_bundle",
    ),
    ".recipe": ("Recipe", "load_recipe"),
    ".data": ("Samples", "load_samples", "split_signs"),
    ".simulate.recording": ("Recording",),
    ".chip": ("Target", "load_target"),
    ".verify": ("compare", "probe"),
}

__all__ = [
    "Bundle",
    "Compiled",
    "Finding",
    "InputCoding",
    "Network",
    "Neuron",
    "Placement",
    "Population",
    "Program",
    "Projection",
    "Recipe",
    "Recording",
    "Samples",
    "SemanticsProfile",
    "SnnDeployError",
    "Source",
    "Target",
    "Weight",
    "bundle_of",
    "check_program",
    "compare",
    "compile",
    "compress",
    "compress_module",
    "energy",
    "explain_bundle",
    "finetune",
    "from_norse",
    "from_relu",
    "from_sinabs",
    "from_snntorch",
    "from_spikingjelly",
    "load_recipe",
    "load_samples",
    "load_target",
    "page_of",
    "place_program",
    "probe",
    "read_bundle",
    "read_network",
    "read_netx",
    "report_of",
    "run_engine",
    "save_bundle",
    "sensitivity",
    "split_signs",
    "tables_of",
    "tune",
    "validate_placement",
    "verify_bundle",
    "write_bundle",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("snndeploy")
    # Here, not above: the checker, which runs in this package, loads nothing of the rest.
    from .lazy import loader

    return loader(__name__, _HOME)(name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
