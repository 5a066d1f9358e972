"""Looking for recipes: the fewest cores, words, joules or seconds for the most right answers."""
