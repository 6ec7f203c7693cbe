"""The fan-out: stream records in, events for everyone who subscribes out, on an event bus of our own.

It stands beside the relay and shares nothing with it but the stream, so that neither holds up the other. A record that
gives no event goes to the dead-letter queue with the reason; what the bus does not take within the invocation ends the
batch there, and the event source mapping brings it again.
"""
