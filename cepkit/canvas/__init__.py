"""What every widget shares: a thread that works, binary packing, and the scripts that draw."""
