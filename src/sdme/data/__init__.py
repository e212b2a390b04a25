"""Training data: packs of images, modality synthesis and batches made on the device."""
