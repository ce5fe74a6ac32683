"""The command line: its entry, Lightning's subcommands, and one module per command."""
