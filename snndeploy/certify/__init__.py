"""A separate checker of bundles: it proves again, from the files alone, what a compiler says of them.

It imports NumPy and the standard library, and nothing of the compiler. Read it in this order: `files`
(what a bundle may be), `engine` (what its integers compute), `rounding` (they are the network's),
`bounds` (how large states become), `cores` (where it all is), and `checks`, which puts these together.
"""

from .checks import certify
from .files import BundleRefused, Contradiction

__all__ = ["BundleRefused", "Contradiction", "certify"]
