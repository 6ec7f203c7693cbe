"""What operators run against an environment: on AWS with a person's credentials, or on the laptop's emulator.

Nothing here needs the laptop stack. `command_line` is what a person types, `commands` what each command takes and
prints; `environment` is the way to AWS; the other modules do one task each, through boto3 clients that are handed to
them.
"""
