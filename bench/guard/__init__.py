"""What a profile's guard costs its callers, and what it brings: no delay while a model is in time, no silence when not.

Real processes throughout. `tests/edge` and `tests/platforms` hold what the guard says and when; these are its figures.
"""
