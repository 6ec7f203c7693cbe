"""The Dagster code location: how assets, jobs, sensors, schedules and alerts are put together and with which settings.

Nothing here reads or writes business data itself: `assets` does that through `lakehouse`.
"""
