"""Real clients as programs: each is told an order on a line of stdin and reports on a line of stdout what it met.

So one table of tests asks them all, and each runs in the environment that its packages need.
"""
