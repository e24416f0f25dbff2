"""Hundreds of simulated calls over a real line whose targets are slow, empty and failing.

The same calls go through a plain proxy first, to show that these callers do hang up where nobody keeps to their rules.
`python -m tests.platforms.soak`.
"""
