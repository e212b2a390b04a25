"""The two-task network: shared encoder, matching and alignment branches, shipped weights."""
