"""What a process imports to have the code location loaded before it is forked: the fork server knows names of modules
only."""

from local.dagster import warm_project

warm_project.load()
