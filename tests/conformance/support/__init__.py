"""What stands in for Athena: a front of Glue, a service over Trino, and witnesses that read the result."""
