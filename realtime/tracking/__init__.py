"""A sample subscriber of the event bus: it publishes where an order's parcels are.

It shows what a service needs to follow changes without touching the table: a rule with a filter, a queue with
dead letters, and a memory of its own, because events come at least once and in any order.
"""
