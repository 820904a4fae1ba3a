"""What several benchmarks need: the command line, the data sets, results on disk."""
