"""What the interpreter that has lava runs: standard library, numpy, scipy and lava only."""
