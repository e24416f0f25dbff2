"""What a model's targets cost its callers: hedges beside a target that is slow at times, and cascades past a dead one.

Real processes, an upstream in this one. First content as a caller hears it; `tests/faults` holds the outcomes.
"""
