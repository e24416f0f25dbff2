"""The command line: everything on one machine, or one tier of it."""
