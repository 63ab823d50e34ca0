"""What a host can open on a device, one kind of service a file; ``directory`` knows them all."""
