"""What a bundle costs on this machine, measured in fresh processes; needs what the runtime needs."""
