"""`trunkline calls`: the calls that the line has lately had, and all that is kept of one.

    TURNS ────▶ reading ─records─▶ listed ─▶ forms ─line─▶ stdout
    WEBHOOKS ─────┘ └──Call──────▶ webhook ──┘

`reading` and `command` are the rim; everything between them is values. It only looks: nothing on the line changes.
"""
