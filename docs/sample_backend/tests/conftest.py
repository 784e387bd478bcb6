"""The contract comes as a pytest plugin."""

pytest_plugins = ["vipnet.testing.plugin"]
