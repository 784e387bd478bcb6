"""vipnet."""
