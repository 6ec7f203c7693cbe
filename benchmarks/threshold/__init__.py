"""What it costs to rewrite a file and to mark rows in it, from which the merge's thresholds follow."""
