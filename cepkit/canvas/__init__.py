"""The parts that all widgets share: work between two events, binary packing, and the scripts that draw."""
