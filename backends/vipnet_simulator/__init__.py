"""vipnet_simulator."""
