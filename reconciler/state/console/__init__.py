"""What the console reads, and its sessions."""
