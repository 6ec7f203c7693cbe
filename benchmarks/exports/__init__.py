"""What an export of the table costs: to bring it into the lake, to compare it, and to build a lost lake again."""
