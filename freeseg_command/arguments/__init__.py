"""Arguments of commands that can be read, and refused, before PyTorch is imported."""
