"""What a model learns from: logs, pasts, item statistics, graph edges, batches, folds, soft labels and text vectors."""
