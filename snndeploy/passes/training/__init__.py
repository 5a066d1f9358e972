"""Training: a torch module from any network, a trainer, and the passes that are built on them."""
