"""The drawing library that a page carries: Vega-Lite, Vega and Vega-Embed, as one script."""

from __future__ import annotations

from functools import cache


@cache
def vega() -> str | None:
    """The script, from an installed package; None where there is none."""
    try:
        import vl_convert
    except ImportError:
        return None
    script = str(vl_convert.javascript_bundle())
    return script.replace("</script", "<\\/script").replace("<!--", "<\\!--")
