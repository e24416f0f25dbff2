"""HTTP in, server-sent events out. The edge owns the turn: it alone knows what the caller has heard."""
