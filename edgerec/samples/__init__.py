"""Sample data with settings, one folder each; ATTRIBUTION.md in it names the licence and our changes."""
