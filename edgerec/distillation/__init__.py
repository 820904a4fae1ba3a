"""How the student learns from its teacher: soft labels, pseudo-labelled requests, and the training on both."""
