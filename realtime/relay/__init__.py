"""The relay: stream records in, change records out to the Firehose of their entity.

Nothing may be lost. A record that cannot be transformed is kept whole in the failure prefix of the data bucket; what
Firehose does not take within the invocation ends the batch there, and the event source mapping brings it again.
"""
