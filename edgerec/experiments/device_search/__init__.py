"""From a device and a budget to the best bundle that fits: costs are predicted before anything is trained."""
