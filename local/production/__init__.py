"""`make production`: Dagster as production runs it, in real processes, killed and upgraded under live traffic.

The instance is `deploy/dagster.yaml`, the processes are the tasks of `deploy/pipeline.yaml` with their commands, and
storage is a real PostgreSQL. `ecs` stands for ECS: production's own launcher asks it for tasks, and it starts
processes. `plan` says what happens when, by a seed; traffic, model and judge are those of `local.chaos`.
"""
