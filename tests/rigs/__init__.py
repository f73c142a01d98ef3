"""Real things that tests start for themselves: a libvirtd, tiny guests, a second process that acts."""
