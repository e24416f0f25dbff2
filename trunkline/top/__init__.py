"""`trunkline top`: a live view of the line in the terminal.

    here ─┐
    TURNS ┤                     figures              lines
    JOBS  ┼▶ watch ─▶ seen.Line ───────▶ view.screen ─────▶ terminal
    admin ┘                              view.text, JSON ─▶ stdout

`watch` and `terminal` are the rim; everything between them is values. It only looks: nothing on the line changes.
"""
