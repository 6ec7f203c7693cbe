"""What serves dbt and is no asset: the project on disk and its manifest, the sources that a local build reads, what of
a build readers get, and slices of the lake to work on."""
