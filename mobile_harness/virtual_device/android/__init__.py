"""What runs on the device: its state, and the commands that show and change it, in Android's own formats."""
