"""The merge on Athena, for tables that outgrow one machine: statements, the client that runs them, and the engine."""
