"""The emulator's web server: routes, messages, checks of requests, injected faults."""
