"""Singer on both sides: settings, commands, messages in and out."""
