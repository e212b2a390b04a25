"""Evaluation in the paper's protocol: cases, metrics, baselines, tables and a runner."""
