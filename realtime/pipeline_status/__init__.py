"""What functions know of the pipeline while they run: how far it is, and the pressure on each Firehose.

It comes from metrics in CloudWatch, which are read beside the requests and kept for a minute. No request waits for
them, and functions do without them when CloudWatch does not answer.
"""
