"""Questions to the archive: taken from callers, handed to the pipeline, which answers them, and given back."""
