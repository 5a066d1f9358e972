"""How the integer engine computes: routes through a projection, updates of a group, blocks of both."""
