"""The search of `edgerec tune`: settings are drawn, trained and judged on valid, in a study that can go on."""
