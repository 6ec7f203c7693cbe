"""What an increment of the marts costs beside a full refresh, on the local target."""
