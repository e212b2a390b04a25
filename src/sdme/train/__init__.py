"""Training: the loop, its steps and checkpoints."""
