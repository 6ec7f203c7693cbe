"""What serves dbt and is no asset: the sources that a local build reads, and slices of the lake to work on."""
