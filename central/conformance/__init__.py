"""The conformance kit: what every connector promises, shown against its system or an emulator of it.

For whoever writes a connector: give the kit a `Rig` (rig.py) and run `suite.CHECKS` over it, from any test runner;
`safe.run` is the part that may be run against a live test system.
"""
