"""The commands: one file each, discovered through the entry-point group `palmtop.commands`."""
