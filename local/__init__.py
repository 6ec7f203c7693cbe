"""The laptop stack: AWS emulator, stream pump, traffic simulator, CSV replay and the `gavel` command line."""
