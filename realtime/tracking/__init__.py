"""A sample subscriber of the event bus: it tells the way of an order's parcels to whoever wants to know.

It shows what a service needs to follow changes without touching the table: a rule with a filter, a queue with
dead letters, and a memory of its own, because events come at least once and in any order.
"""
