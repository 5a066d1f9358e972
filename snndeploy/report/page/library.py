"""The drawing library that a page carries: Vega-Lite, Vega and Vega-Embed, as one script."""

from __future__ import annotations

import importlib.util
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ...errors import InputError
from ...files import make_folder, write_file

_PACKAGE = "vl-convert-python"


@cache
def vega() -> str | None:
    """The script, from an installed package; None where there is none.

    Putting it together takes seconds, so it is kept among the user's caches.
    """
    if importlib.util.find_spec("vl_convert") is None:
        return None
    place = _place()
    try:
        kept = place.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        kept = ""
    if kept.endswith(_END):
        return kept.removesuffix(_END)
    import vl_convert

    script = str(vl_convert.javascript_bundle(**_ALL))
    script = script.replace("</script", "<\\/script").replace("<!--", "<\\!--")
    try:
        make_folder(place.parent)
        write_file(place, script + _END, force=True)
    except InputError:
        pass  # a cache that cannot be written is none
    return script


_ALL: dict[str, Any] = {}
"""No snippet of ours: the libraries are put where scripts find them. The stub asks for one."""
_END = "\n// complete\n"


def _place() -> Path:
    from platformdirs import user_cache_path

    try:
        which = version(_PACKAGE)
    except PackageNotFoundError:
        which = "unknown"
    return user_cache_path("snndeploy") / f"vega-{which}.js"
