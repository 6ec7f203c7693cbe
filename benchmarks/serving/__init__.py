"""How many rows a second a PostgreSQL on the same machine is given."""
