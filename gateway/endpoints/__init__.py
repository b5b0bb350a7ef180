"""Protocols over HTTP, a module each. Flask is known only here and in ``gateway.app``."""
