"""Batches of unusual shape: time, peak memory and peak scratch of each, beside what they may take."""
