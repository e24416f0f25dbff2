"""Jobs in, frames out. A worker owns the model: which target answers, and what that cost."""
