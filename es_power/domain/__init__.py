"""What is true about virtual machines: pure, the standard library only; no clock, no random, no I/O."""
