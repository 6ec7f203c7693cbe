"""Deploying an environment to AWS: which stacks there are, what each gets, and bringing them to what is here."""
