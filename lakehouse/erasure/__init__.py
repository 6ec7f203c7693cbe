"""One person's data, erased everywhere in the lake, and the proof of it.

A request is kept below `erasures/` and done in two phases. The first lets what still arrives of the person come to
nothing, and rewrites what holds it; readers who opened an earlier state go on. The second, when they are done, removes
earlier states and versions, reads everything that is left, and signs what was done.
"""
