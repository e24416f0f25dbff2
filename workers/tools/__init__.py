"""Tool calls, held against what may be called before a platform acts on them: there is no veto afterwards.

`rules` says of one call what speaks against it: its schema (`schemas`), the gates of the configuration (`gates`), and
what the call has seen already (`once`, from the history in `past`). All of these are pure. `checked` lets a turn's good
calls out, keeps the others back, and makes the job that asks a model once more. `unmatched` logs which gates can hold
nothing back.
"""
