"""The commands of `command_line`, by what they are about: what each takes, and what is printed.

What a command does belongs to the module of the same name in `ops`. Modules that take long to import are imported by
the commands that need them.
"""
