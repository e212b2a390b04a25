"""Sparse-to-dense registration of images from different sensors."""
