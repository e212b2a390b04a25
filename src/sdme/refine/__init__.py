"""Dense refinement of a transform, whoever found it."""
