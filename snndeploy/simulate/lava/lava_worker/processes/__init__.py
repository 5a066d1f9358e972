"""Our own Lava processes, in a folder of their own.

When Lava compiles a process that is not its own, it executes every Python file beside it to look
for models. So only definitions may live here.
"""
