"""`trunkline responses`: the responses that the line keeps for going on from, listed, shown, removed.

    RESPONSES ─▶ reading ─Kept─▶ forms ─line─▶ stdout
                                   └─ items

`reading` and `command` are the rim; the others are values. `rm` alone changes something.
"""
