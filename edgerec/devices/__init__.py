"""Target devices: cores, threads and budgets, read from `devices/*.toml`; and what this machine has."""

from edgerec.devices.profile import KERNELS, RUNTIMES, Budget, Fact, Figure, Profile, list_profiles, load_profile

__all__ = ["KERNELS", "RUNTIMES", "Budget", "Fact", "Figure", "Profile", "list_profiles", "load_profile"]
