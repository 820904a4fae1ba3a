"""`nn.Module`s and nothing else."""
