"""nfnetlink of nftables by hand: a room that reads like the kernel's header, linux/netfilter/nf_tables.h."""
