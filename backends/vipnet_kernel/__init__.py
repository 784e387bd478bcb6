"""What the backends that use the kernel share: namespaces, links, sysctls, connections, ARP frames. No rules."""
