"""The demo: a real service on libvirt's test driver, which it drives itself."""
