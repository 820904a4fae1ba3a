"""Many runs compared: tuning, ablation, device search, transfer between tasks, differences of bundles, refresh."""
