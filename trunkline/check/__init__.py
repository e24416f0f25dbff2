"""`trunkline check`: look at everything that a line depends on, and say what is wrong with its cure.

`run` asks all sections at the same time. Those that touch the world (`bus`, `processes`, `targets`, `machine`) only
gather; what it means is said by plain functions over values (`server`, `streams`, `workers`, `answers`, `clock`), as
`findings`. `screen` shows them.
"""
