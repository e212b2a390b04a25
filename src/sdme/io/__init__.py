"""Images and tables of points at the door: files in, numpy arrays inside, files out."""
