"""Decisions at run time: what functions know of the state of the pipeline, from figures in CloudWatch.

Nobody waits for a decision: figures are read beside the requests, kept for a minute, and done without when CloudWatch
does not answer.
"""
