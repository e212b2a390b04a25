"""Evaluation of registration methods: inputs, protocols, methods, figures, reports."""
