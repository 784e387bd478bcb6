"""OpenFlow 1.5 on the wire, as far as the pipeline needs it."""
