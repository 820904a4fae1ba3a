"""One file a stage, around a `Run`: with `experiments` the only place that knows what of a run lies where."""
