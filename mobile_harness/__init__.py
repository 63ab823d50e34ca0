"""From builds to measurements on every attached, emulated or remote device. Needs no ML library."""
