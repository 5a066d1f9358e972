"""The vendor's simulator of Xylo, xylosim, as an outside judge in an interpreter of its own.

It states no licence: it is neither copied nor bundled. `install` puts it where the user says, the worker
runs there and exchanges files; nothing here imports it. samna, whose package replaces itself when it is
imported, is not used.
"""
