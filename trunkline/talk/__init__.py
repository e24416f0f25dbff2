"""A conversation in the terminal with the line that runs, and what each of its turns cost.

    keyboard ─text─▶ conversation ─body─▶ client ═HTTP═▶ the line
    show ◀─pieces─── turn ◀────pieces──── chunks ◀═SSE══

Enter or Ctrl-C while an answer comes closes its connection: a barge-in, as a voice platform does it. The `history` is
kept as such a platform keeps it: of an interrupted answer, what was heard. `figures` are the caller's own; what only
the line knows comes from its turn records.
"""
