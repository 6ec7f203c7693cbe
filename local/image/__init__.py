"""Production's image without Docker: the Dockerfile's own steps in a folder, and what came of them.

`dockerfile` reads `deploy/Dockerfile` and `.dockerignore`, `sandbox` runs a program in a folder as its root, `building`
carries the steps out, `files` compares and looks at what they made, `whole` finds what is missing, `parts` lists it
(SBOM), `archive` extracts one that Docker built, `tasks` starts what production starts, `python -m local.image` is how
all of it is typed.
"""
