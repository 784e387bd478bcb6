"""vipnet_nftables."""
