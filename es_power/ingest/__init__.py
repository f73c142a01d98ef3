"""Facts in: libvirt's events and answers, and what people say. Nothing here decides."""
