"""A placement told to people: what is where, what fills it, how long a step takes."""
