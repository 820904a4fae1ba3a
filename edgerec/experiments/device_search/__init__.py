"""From a device and a budget to the best bundle that fits: costs predicted before anything is trained, and a search."""
