"""What readers pay for many small merges until the next maintenance."""
