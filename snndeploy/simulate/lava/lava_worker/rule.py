"""`snndeploy.ir.step`, loaded by its path: the worker's interpreter has no snndeploy."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

_PATH = Path(__file__).parents[3] / "ir" / "step"
_NAME = "snndeploy_step"


def load_step() -> ModuleType:
    """The room with the integer update."""
    if _NAME not in sys.modules:
        spec = spec_from_file_location(
            _NAME, _PATH / "__init__.py", submodule_search_locations=[str(_PATH)]
        )
        if spec is None or spec.loader is None:
            raise ImportError(f"{_PATH} cannot be loaded")
        module = sys.modules[_NAME] = module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[_NAME]
