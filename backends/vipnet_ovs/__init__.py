"""Open vSwitch: one bridge, one declared OpenFlow pipeline."""
