"""`trunkline turns`: the records of finished turns, listed, followed, filtered, exported.

    TURNS ─▶ reading ─record─▶ wanted ─record─▶ forms ─line─▶ stdout
                                  └────record─▶ summary ─────▶ stdout

`reading` and `command` are the rim; everything between them is values. It only looks: nothing on the line changes.
"""
