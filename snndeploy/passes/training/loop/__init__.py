"""The trainer: data in batches, epochs, losses, checkpoints."""
