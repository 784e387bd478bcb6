"""vipnet_kernel."""
