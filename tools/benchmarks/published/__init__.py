"""Public data sets with results that others published: their protocols, their figures, and our settings for each."""
