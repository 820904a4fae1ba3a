"""Sample data with settings, one folder each; licences and changes are told in their ATTRIBUTION.md."""
