"""The update of a group of compartments: plain, compiled, and watched."""
