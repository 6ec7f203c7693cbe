"""The inbound queue: handler (SQS in, partial batch response out) -> service (rules) -> the API's service (table)."""
