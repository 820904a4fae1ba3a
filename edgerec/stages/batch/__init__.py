"""`edgerec recommend` and `edgerec score` for files: many requests, the past of users, and tables of results."""
