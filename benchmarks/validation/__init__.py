"""How many rows a second one core decodes, checks and types, for real contracts and every form that lands."""
