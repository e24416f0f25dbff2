"""Where the CPU goes while a line is under load: by layer, by function, in the kernel or not.

`stacks` reads what py-spy has sampled and is pure; `command` starts a line under a scenario of `bench.load`, samples
its Python processes from outside and shows both tables. NATS is no Python: of it there is what the kernel counts.
"""
