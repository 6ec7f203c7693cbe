"""The HTTP API: handler (HTTP in and out) -> service (rules of writing and reading) -> store (DynamoDB)."""
