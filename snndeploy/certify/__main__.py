"""``python -m snndeploy.certify BUNDLE``, or this folder as a script where only NumPy is installed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

if not __package__:
    sys.path.append(str(Path(__file__).resolve().parents[1]))
    __package__ = "certify"

from . import BundleRefused, certify


def main(arguments: list[str]) -> int:
    """Print the certificate; 0 certified, 6 a contradiction, 3 no readable bundle, 2 wrong usage."""
    if len(arguments) != 1 or arguments[0].startswith("-"):
        sys.stderr.write("usage: python -m snndeploy.certify BUNDLE\n")
        return 2
    try:
        told = certify(arguments[0])
    except BundleRefused as refused:
        sys.stderr.write(f"refused: {arguments[0]} {refused}\n")
        return 3
    sys.stdout.write(json.dumps(told, indent=2) + "\n")
    return 0 if told["certified"] else 6


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
