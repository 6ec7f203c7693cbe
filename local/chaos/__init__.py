"""`make chaos`: the running laptop stack under faults that a seed plans, judged by an independent model.

`plan` says what happens when, from the seed alone. `proxy` stands before the emulator and spoils requests, `parts`
starts and kills processes, `traffic` changes items and remembers what was accepted, `model` says what must follow from
that, `judge` compares. `python -m local.chaos` does all of it.
"""
