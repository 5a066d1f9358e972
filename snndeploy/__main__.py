"""``python -m snndeploy``."""

from .cli import main

main(prog_name="snndeploy")
