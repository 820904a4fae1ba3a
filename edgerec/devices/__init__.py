"""Target devices: cores, threads and budgets, read from `devices/*.toml`."""

from edgerec.devices.profile import Budget, Figure, Profile, list_profiles, load_profile

__all__ = ["Budget", "Figure", "Profile", "list_profiles", "load_profile"]
