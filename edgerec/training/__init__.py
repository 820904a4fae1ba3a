"""Teacher, distillation, and what both learn from."""
