"""Singer for taps and targets: settings, commands, reading and writing messages."""
