"""A separate checker of bundles: it proves again, from the files alone, what a compiler says of them.

It imports NumPy and the standard library, and nothing of the compiler. Read it in this order: `files`
(what a bundle may be), `engine` (what its integers compute; `turns` on Xylo), `rounding` (they are the
network's), `cores` (where it all is), `runs` (recorded spikes), `bounds` and `headroom` (how large
states become), and `checks`, which puts these together. Each sentence of a certificate rests on one of
them and what that imports.
"""

from .checks import certify
from .files import BundleRefused, Contradiction

__all__ = ["BundleRefused", "Contradiction", "certify"]
