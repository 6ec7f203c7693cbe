"""The merge against its peers: the same table and the same changes for all, measured in one run on one machine.

Results are written, never asserted. `README.md` says what is compared and how to run it.
"""
