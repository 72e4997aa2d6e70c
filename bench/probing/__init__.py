"""What a frozen encoder knows: features, probes, pair scoring and their controls."""
