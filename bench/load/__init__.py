"""What a line costs: its time, CPU and memory against direct access to the same upstream, in the same run.

scenarios   what is measured and what must come out, as a table
measuring   lines up and down, rounds against every side in turn
rig         the processes: upstream, sink, line, and a generator per round
generator   the load, in a process of its own; `hearing` reads the answers, `rounds` is what it is told and tells
upstream    the cheapest that speaks the dialect; `words` is what it says
figures     from what was taken to medians and verdicts; `table` shows them
"""
